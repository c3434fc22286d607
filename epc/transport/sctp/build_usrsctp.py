"""Builds ``epc.transport.sctp._usrsctp`` against the system's libusrsctp (Debian: libusrsctp-dev). Run by setup.py."""

import pathlib

import cffi

HERE = pathlib.Path(__file__).parent

ffi = cffi.FFI()
ffi.cdef((HERE / "shim.h").read_text())
ffi.set_source(
    "epc.transport.sctp._usrsctp",
    (HERE / "shim.c").read_text(),
    include_dirs=[str(HERE)],
    depends=[str(HERE / "shim.h"), str(HERE / "shim.c")],
    libraries=["usrsctp"],
    extra_compile_args=["-O2", "-Wno-address-of-packed-member"],
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
