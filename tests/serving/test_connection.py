"""Connections: slow headers end, and a request that was under way when the server stops counts."""

import socket
import threading
import time

import pytest

from gatewise.serving import connection
from gatewise.serving.server import Server

ASK = b"GET /v2/health/live HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.fixture
def server(classify_run):
    with Server([str(classify_run)], port=0) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        yield server
        server.stop()
        thread.join()


def opened(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def answer(client):
    """The head of an answer; "" if the server closed the connection instead."""
    read = b""
    while b"\r\n\r\n" not in read and (part := client.recv(4096)):
        read += part
    return read.decode().lower()


@pytest.mark.parametrize("begin", [b"", ASK[:-4], ASK + ASK[:-4]])
def test_headers_that_do_not_arrive_end_the_connection(server, monkeypatch, begin):
    monkeypatch.setattr(connection, "PATIENCE", 0.3)
    with opened(server) as client:
        client.sendall(begin)
        if begin.startswith(ASK):
            assert answer(client).startswith("http/1.1 200")
        assert answer(client).startswith("http/1.1 408")
        assert client.recv(1) == b""


def test_a_request_on_an_idle_connection_is_answered_while_the_server_stops(server, monkeypatch):
    monkeypatch.setattr(connection, "LINGER", 5.0)
    with opened(server) as used, opened(server) as new:
        used.sendall(ASK)
        assert "connection: close" not in answer(used)
        server.stop()
        while not server.service.draining:
            time.sleep(0.01)
        for client in (used, new):
            client.sendall(ASK)
            said = answer(client)
            assert said.startswith("http/1.1 200")
            assert "connection: close" in said
            assert client.recv(1) == b""


def test_no_connection_is_told_to_end_while_new_ones_are_accepted(server, monkeypatch):
    monkeypatch.setattr(connection, "LINGER", 5.0)
    for _ in range(100):
        server.stop()  # Uvicorn looks at it ten times a second
        if server.service.draining:
            break
        with opened(server) as client:
            client.sendall(ASK)
            said = answer(client)
        if server.service.draining:
            break
        assert "connection: close" not in said
        time.sleep(0.002)
    assert server.service.draining
    time.sleep(0.02)  # the listening socket is closed in the same step
    with pytest.raises(ConnectionRefusedError):
        opened(server)
