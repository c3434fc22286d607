"""The parts of the BPF back end: its program text (``gtpu.bpf.c``), the loader that needs no compiler, and the netlink it takes.

``epc.dataplane.bpf_backend`` puts them together.
"""
