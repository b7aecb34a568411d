"""What listens: the TCP ports of this process and of all it started."""

import ipaddress
from collections.abc import Iterator

import psutil


def processes() -> Iterator[psutil.Process]:
    """This process and everything alive below it."""
    yield psutil.Process()
    for child in psutil.Process().children(recursive=True):
        if child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            yield child


def listening(process: psutil.Process) -> list[tuple[str, int]]:
    """Address and port of every listening socket."""
    found = process.net_connections("inet")
    return [(c.laddr.ip, c.laddr.port) for c in found if c.status == psutil.CONN_LISTEN]


def open_to_others() -> list[str]:
    """The sockets that other machines could reach, with their processes' names."""
    return [
        f"{process.name()} {ip}:{port}"
        for process in processes()
        for ip, port in listening(process)
        if not _is_loopback(ip)
    ]


def _is_loopback(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    return bool((getattr(address, "ipv4_mapped", None) or address).is_loopback)
