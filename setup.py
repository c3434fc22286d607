"""Optional compiled parts; each one is left out, with a line that says so, where it cannot be built."""

import importlib.util
import pathlib
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = pathlib.Path(__file__).parent
extensions: list[Extension] = []


def cython_runtime() -> None:
    """The APER runtime: the same file that runs as plain Python, compiled."""
    source = HERE / "epc/wire/aper/runtime.py"
    if not source.exists() or importlib.util.find_spec("Cython") is None:
        return
    from Cython.Build import cythonize

    copy = source.with_name("runtime_c.py")
    copy.write_text(source.read_text())
    try:
        extensions.extend(cythonize([Extension("epc.wire.aper.runtime_c", ["epc/wire/aper/runtime_c.py"], optional=True)], quiet=True))
    finally:
        copy.unlink()


def usrsctp() -> None:
    """SCTP in user space: libusrsctp through cffi."""
    script = HERE / "epc/transport/sctp/build_usrsctp.py"
    if not script.exists() or importlib.util.find_spec("cffi") is None:
        return
    sys.path.insert(0, str(HERE))
    specification = importlib.util.spec_from_file_location("build_usrsctp", script)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    extension = module.ffi.distutils_extension(tmpdir=str(HERE / "build"), verbose=False)
    extension.optional = True
    extensions.append(extension)


def bpf_program() -> None:
    """The kernel's part of the user plane: compiled here, so that nobody needs clang to run it."""
    script = HERE / "epc/dataplane/bpf/build.py"
    if not script.exists():
        return
    specification = importlib.util.spec_from_file_location("build_bpf", script)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.build()


class BuildExt(build_ext):
    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            print(f"epclab: compiled parts left out, the pure Python ones serve: {error}", file=sys.stderr)


for part in (cython_runtime, usrsctp, bpf_program):
    try:
        part()
    except Exception as error:
        print(f"epclab: {part.__name__} is not built: {error}", file=sys.stderr)

setup(ext_modules=extensions, cmdclass={"build_ext": BuildExt})
