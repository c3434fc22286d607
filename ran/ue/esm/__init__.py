"""EPS session management, the UE's part: TS 24.301 clause 6."""
