"""What a data network offers to phones: names, web sites. Served by the host on SGi, in whichever way that host lives."""
