"""SCTP (RFC 9260) on three grounds: the kernel's, usrsctp over raw IP 132, usrsctp in UDP (RFC 6951). One ``Association`` on all of them."""
