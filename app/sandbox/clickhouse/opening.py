"""Opens the embedded engine's access control, in the memory of this process.

What is closed. ClickHouse keeps users and roles in *access storages*. A server has two: one that
reads `users.xml` and refuses writes, one on disk that takes them. The embedded engine (chdb-core)
has the first alone, so `CREATE USER` ends with error 514. But that storage keeps what it has read
in a third kind, a `MemoryAccessStorage`, which lies inside it and does take writes.

How a method is found. A C++ object with virtual methods starts with the address of its class's
*vtable*, a list of addresses of functions: calling method number 24 means "take the list, go to
its 24th address". All objects of a class share one list. Before the list stands the address of
the class's `type_info`, and that holds the class's name (Itanium C++ ABI, §2.5.2, §2.9.4).

What is done. In the list of `UsersConfigAccessStorage`, the methods that insert, remove and update
are replaced by a few bytes of machine code: step to the storage inside, go on with that storage's
own method. `isReadOnly` becomes a method that says no. Then the switches of
`access_control_improvements` are set that a server has on by default, and the empty list of
prefixes that custom settings may have gets some. From then on users, roles, grants, policies and
quotas are the real engine's in everything but persistence.

How the two objects are found. Nobody tells us their addresses, so we listen: one method of each is
replaced by code that notes the object and goes on as before; a statement makes the engine call
both; then the lists are put back. Nothing is searched, so opening takes milliseconds.

What can go wrong. All this holds for one build of the library. Where the lists are is remembered
per build (`builds.py`); before anything is written, the library's build id, the class names, the
storage inside and the switches' bytes must be what they should be, else `CannotStart`.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from app.sandbox.clickhouse.builds import BUILDS, ELSEWHERE, Build, read_build_id
from app.sandbox.clickhouse.faults import CannotStart, ServerError
from app.sandbox.clickhouse.machine_code import PROCESSORS, Processor

# Slots of IAccessStorage's vtable in 26.9.
_IS_READ_ONLY, _RETURNS_FALSE, _INSERT, _REMOVE, _UPDATE = 5, 7, 24, 25, 26
_STORAGE_SIZE = 400  # bytes of a UsersConfigAccessStorage that are looked at
_NAMED, _TEXT_SIZE = b"users_xml", 24  # what it is called from the start; bytes of a std::string

# The switches of AccessControl, in the order of its source: three that are true from the start
# (plaintext and missing passwords allowed), nine that are false, then bcrypt's work factor.
_SWITCHES = b"\1\1\1" + bytes(9) + struct.pack("<i", 12)
# on by default in a server: users_without_row_policies_can_read_rows … enable_user_name_access_type
_SERVER_DEFAULTS, _IMPERSONATION = (4, 5, 6, 7, 8, 9), 22

# What AccessControl points to three words before its switches: the prefixes' std::vector, which is
# where the first of them is, where the last one ends, and up to where there is room.
_PREFIXES, _VECTOR_SIZE = -24, 24

_PROBE = "CREATE USER `sandbox probe`"
_STORAGE_NOT_FOUND = 514  # ACCESS_STORAGE_FOR_INSERTION_NOT_FOUND: the closed engine's answer


def open_access_control(
    library: Path, query: Callable[[str], object], name: str, prefixes: Sequence[str]
) -> None:
    """Make the running engine accept access statements. `query` runs one statement as its admin.

    `name`: what the storage is called from here on, as IN and `system.users` know it.
    `prefixes`: of custom settings.

    Raises CannotStart, having changed nothing, where the library is not a known build. Call once.
    """
    processor, build = _recognise(library)
    image = _Image(_base_of(library), build)
    control, storage = _listen(image, processor, query)
    inner = _inner_storage(storage, image)
    switches = _switches(control)
    settings = _prefixes(switches)
    for named in (storage, storage + inner):
        _rename(named, name.encode())
    _redirect(image, processor, inner)
    for switch in (*_SERVER_DEFAULTS, _IMPERSONATION):
        ctypes.memset(switches + switch, 1, 1)
    _allow(settings, prefixes)


def _recognise(library: Path) -> tuple[Processor, Build]:
    build_id = read_build_id(library)
    build = BUILDS.get(build_id)
    processor = PROCESSORS.get(platform.machine())
    if platform.system() != "Linux" or processor is None or build is None:
        here = f"{platform.system()} {platform.machine()}, build {build_id or 'without an id'}"
        raise CannotStart(f"this build of the embedded engine is not known ({here}); {ELSEWHERE}")
    if build.machine != platform.machine() or build.size != library.stat().st_size:
        raise CannotStart(f"{library} is damaged; reinstall chdb-core, or {ELSEWHERE}")
    return processor, build


def _base_of(library: Path) -> int:
    """Return the address at which the library was loaded.

    The loader says it: what dlopen returns is a `struct link_map`, which starts with `l_addr`. The
    kernel's list of mappings would not do, since the engine maps its own file once more, as data,
    when it first writes a stack trace.
    """
    try:
        loaded = ctypes.CDLL(str(library), mode=os.RTLD_NOW | os.RTLD_NOLOAD)
    except OSError as error:
        raise CannotStart(f"{library} is not loaded") from error
    return _word(loaded._handle)  # noqa: SLF001  ctypes has no other name for it


class _Image:
    """The library in memory: its vtables, each checked by the name of its class."""

    def __init__(self, base: int, build: Build) -> None:
        self.control = self._vtable(base + build.control, b"N2DB13AccessControlE")
        self.users = self._vtable(base + build.users, b"N2DB24UsersConfigAccessStorageE")
        self.memory = self._vtable(base + build.memory, b"N2DB19MemoryAccessStorageE")

    @staticmethod
    def _vtable(address: int, class_name: bytes) -> int:
        type_info = _word(address - 8)
        if _word(address - 16) != 0 or ctypes.string_at(_word(type_info + 8)) != class_name:
            raise CannotStart(f"the embedded engine is laid out in another way; {ELSEWHERE}")
        return address


def _listen(image: _Image, processor: Processor, query: Callable[[str], object]) -> tuple[int, int]:
    """Return the addresses of the engine's AccessControl and of its one storage."""
    cells = (ctypes.c_uint64 * 2)()
    heard = (image.control + 8 * _INSERT, image.users + 8 * _IS_READ_ONLY)
    before = [_word(slot) for slot in heard]
    codes = [
        processor.note_and_go(ctypes.addressof(cells) + 8 * i, target)
        for i, target in enumerate(before)
    ]
    for slot, code in zip(heard, _executable(codes), strict=True):
        _write_word(slot, code)
    try:
        query(_PROBE)
    except ServerError as error:
        if error.code != _STORAGE_NOT_FOUND:
            raise CannotStart(f"the embedded engine answers {error.code}; {ELSEWHERE}") from error
    else:
        raise CannotStart("the embedded engine is open already: this must be done once")
    finally:
        for slot, target in zip(heard, before, strict=True):
            _write_word(slot, target)
    control, storage = cells
    if not control or not storage:
        raise CannotStart(f"the embedded engine's access control was not found; {ELSEWHERE}")
    if _word(control) != image.control or _word(storage) != image.users:
        raise CannotStart(f"the embedded engine's access control is another one; {ELSEWHERE}")
    return control, storage


def _inner_storage(storage: int, image: _Image) -> int:
    """Return how far inside `storage` its MemoryAccessStorage lies."""
    words = struct.unpack(f"<{_STORAGE_SIZE // 8}Q", ctypes.string_at(storage, _STORAGE_SIZE))
    if words.count(image.memory) != 1:
        raise CannotStart(f"the embedded engine's storage is built in another way; {ELSEWHERE}")
    return 8 * words.index(image.memory)


def _rename(storage: int, name: bytes) -> None:
    """Give the storage another name: it is a short text, so its bytes lie in the object itself.

    The last of its 24 bytes is how long it is (libc++, alternate string layout).
    """
    content = ctypes.string_at(storage, _STORAGE_SIZE)
    at = content.find(_NAMED + b"\0")
    if at < 0 or content[at + _TEXT_SIZE - 1] != len(_NAMED):
        raise CannotStart(f"the embedded engine's storage has no name; {ELSEWHERE}")
    ctypes.memmove(storage + at, _text(name), _TEXT_SIZE)


def _text(text: bytes) -> bytes:
    """Return the bytes of a std::string that is short enough to lie in the object itself."""
    return text.ljust(_TEXT_SIZE - 1, b"\0") + bytes([len(text)])


def _switches(control: int) -> int:
    """Return the address of AccessControl's first switch."""
    content = ctypes.string_at(control, 600)
    if content.count(_SWITCHES) != 1:
        raise CannotStart(f"the embedded engine's switches were not found; {ELSEWHERE}")
    return control + content.index(_SWITCHES)


def _prefixes(switches: int) -> int:
    """Return the address of the list of prefixes, which is empty."""
    settings = _word(switches + _PREFIXES)
    if ctypes.string_at(settings, _VECTOR_SIZE) != bytes(_VECTOR_SIZE):
        raise CannotStart(f"the embedded engine's custom settings were not found; {ELSEWHERE}")
    return settings


def _allow(settings: int, prefixes: Sequence[str]) -> None:
    texts = ctypes.create_string_buffer(b"".join(_text(prefix.encode()) for prefix in prefixes))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(texts))  # the engine reads it for good
    start, end = ctypes.addressof(texts), ctypes.addressof(texts) + _TEXT_SIZE * len(prefixes)
    for i, word in enumerate((start, end, end)):
        ctypes.c_uint64.from_address(settings + 8 * i).value = word


def _redirect(image: _Image, processor: Processor, inner: int) -> None:
    slots = (_INSERT, _REMOVE, _UPDATE)
    codes = [processor.shift_and_go(inner, _word(image.memory + 8 * slot)) for slot in slots]
    for slot, code in zip(slots, _executable(codes), strict=True):
        _write_word(image.users + 8 * slot, code)
    _write_word(image.users + 8 * _IS_READ_ONLY, _word(image.users + 8 * _RETURNS_FALSE))


def _executable(codes: list[bytes]) -> list[int]:
    """Return the addresses of copies of `codes` that can be run, for as long as the process lives.

    The page is written first and made executable after: never both at once, which hardened kernels
    refuse, and the change of protection is what makes an AArch64 kernel drop stale instructions.
    """
    page = mmap.mmap(-1, mmap.PAGESIZE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(page))
    for i, code in enumerate(codes):
        page[64 * i : 64 * i + len(code)] = code
    _protect(base, mmap.PROT_READ | mmap.PROT_EXEC)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(page))  # the engine's lists point into it for good
    return [base + 64 * i for i in range(len(codes))]


def _word(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value


def _write_word(address: int, value: int) -> None:
    """Write into a vtable. The loader made it read-only after linking (RELRO), and it is again."""
    _protect(address, mmap.PROT_READ | mmap.PROT_WRITE)
    ctypes.c_uint64.from_address(address).value = value
    _protect(address, mmap.PROT_READ)


def _protect(address: int, protection: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    page = address - address % mmap.PAGESIZE
    if libc.mprotect(page, mmap.PAGESIZE, protection):
        raise CannotStart(f"the kernel refused to change a page (errno {ctypes.get_errno()})")
