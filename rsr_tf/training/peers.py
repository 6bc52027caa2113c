"""What the processes of a cluster tell each other besides gradients: that they are there, and what the chief decides.

Every process keeps one connection to the chief. A process that dies closes it, whatever killed it, so the others know
within a second, and end with one line; TensorFlow would let them wait for a collective operation that nobody joins.
"""

import contextlib
import hashlib
import json
import os
import queue
import socket
import sys
import threading
import time

PORT_VARIABLE = "RSR_PEERS_PORT"
"""Environment variable with the port on which the chief talks to the others."""
PORT_OFFSET = 1000
"""Without the variable, that port is this much above the chief's own."""
WAIT_SECONDS = 150
"""How long processes wait for each other at the start."""
SILENCE_SECONDS = 20
"""After how long without an answer of its machine a process counts as dead."""
EXIT_CODE = 75
"""Exit code of a process whose training cannot go on without another one; the same command resumes it."""
LONGEST_LINE = 1 << 20


class MissingPeerError(ValueError):
    """A process of the cluster did not come."""


class Peers:
    """The other processes of a cluster. Of a process that is alone, every method returns at once.

    All processes call the methods in the same order.

    Args:
        cluster: a `rsr_tf.training.cluster.Cluster`. Defaults to this process alone.
        port: port on which the chief talks to the others. Defaults to `RSR_PEERS_PORT`, or 1000 above the chief's own.
        wait_seconds: how long to wait for the others. Defaults to 150.
        on_loss: function of a message that is called, in another thread, when a process dies; it must not return.
            Defaults to printing the message and ending this process with code 75.

    Raises:
        MissingPeerError: if another process does not come.
        ValueError: if the port cannot be used.

    Example:
        >>> from rsr_tf.training.cluster import Cluster
        >>> from rsr_tf.training.peers import Peers
        >>> Peers(Cluster()).broadcast(3)
        3
    """

    def __init__(self, cluster, *, port=None, wait_seconds=WAIT_SECONDS, on_loss=None):
        self.cluster = cluster
        self._on_loss = on_loss or end_process
        self._links = {}
        if cluster.count > 1:
            deadline = time.monotonic() + wait_seconds
            meet = _gather if cluster.is_chief else _find_chief
            sockets = meet(cluster, port or peers_port(cluster), deadline, wait_seconds)
            self._links = {index: _Link(each, lambda i=index: self._lost(i)) for index, each in sockets.items()}
            for link in self._links.values():
                link.watch()

    def broadcast(self, value=None):
        """Return the chief's value, which is JSON-serializable, on all processes; those of the others do not matter."""
        if not self.cluster.is_chief:
            return self._links[0].receive()
        for link in self._links.values():
            link.send(value)
        return value

    def gather(self, value):
        """Return the list of the values of all processes, on the chief; `None` on the others."""
        if not self.cluster.is_chief:
            self._links[0].send(value)
            return None
        return [value, *(self._links[index].receive() for index in sorted(self._links))]

    def agree(self, value, what):
        """Wait for all processes, and check that they have the same value.

        Args:
            value: JSON-serializable value of this process.
            what: what it is, for the message.

        Returns:
            The value.

        Raises:
            ValueError: on all processes, if one has another value than the chief.
        """
        values = self.gather(value)
        others = [index for index, each in enumerate(values or ()) if each != values[0]]
        found = [others[0], values[0], values[others[0]]] if others else None
        found = self.broadcast(found)
        if found is not None:
            index, expected, received = found
            self.leave()
            raise ValueError(
                f"all workers must have the same {what}. Received: {expected} on {self.cluster.name(0)}, {received} on "
                f"{self.cluster.name(index)}"
            )
        return value

    def wait(self):
        """Wait until all processes are here."""
        self.agree(None, "position")

    @contextlib.contextmanager
    def chief_first(self):
        """Let the chief go through a block before all others."""
        if not self.cluster.is_chief:
            self.wait()
        yield
        if self.cluster.is_chief:
            self.wait()

    def leave(self):
        """Tell the others that this process needs them no longer; its end is no loss for them then."""
        for link in self._links.values():
            link.leave()

    def explain(self):
        """Give the news that a process died, which explains an error of a collective operation, time to arrive."""
        if self._links:
            time.sleep(SILENCE_SECONDS)

    def _lost(self, index):
        self._on_loss(
            f"{self.cluster.name(index)} has ended, and no other can go on without it. Start the same command again to "
            "resume"
        )


def peers_port(cluster):
    """Return the port on which the chief of a cluster talks to the others."""
    given = os.environ.get(PORT_VARIABLE)
    port = int(cluster.addresses[0].rpartition(":")[2])
    return int(given) if given else port + (PORT_OFFSET if port + PORT_OFFSET < 1 << 16 else -PORT_OFFSET)


_ending = threading.Lock()


def end_process(message):
    """Print one line, and end this process at once with code 75, whatever its other threads wait for."""
    _ending.acquire()  # and never released: the first message is the only one
    sys.stdout.flush()
    os.write(2, f"rsr: {message}\n".encode())
    os._exit(EXIT_CODE)


class _Link:
    """A connection to one process, with a thread that reads from it."""

    def __init__(self, connection, on_loss):
        self._socket, self._on_loss = connection, on_loss
        self._values, self._left = queue.Queue(), False

    def watch(self):
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, value):
        with contextlib.suppress(OSError):  # the thread that reads knows better
            _write(self._socket, {"value": value})

    def receive(self):
        return self._values.get()

    def leave(self):
        self._left = True
        with contextlib.suppress(OSError):
            _write(self._socket, {"leaves": True})

    def _read(self):
        with contextlib.suppress(OSError, ValueError), self._socket, self._socket.makefile("rb") as file:
            for line in iter(lambda: file.readline(LONGEST_LINE), b""):
                message = json.loads(line)
                if message.get("leaves"):
                    self._left = True
                    break
                self._values.put(message["value"])
        if not self._left:
            self._on_loss()


def _write(connection, message):
    connection.sendall(json.dumps(message).encode() + b"\n")


def _gather(cluster, port, deadline, wait_seconds):
    """Wait for all other processes; return their sockets by index."""
    found, missing = {}, set(range(1, cluster.count))
    try:
        listener = socket.create_server(("", port), backlog=cluster.count)
    except OSError as error:
        raise ValueError(
            f"cannot wait for the other workers on port {port}: {error.strerror}. Set {PORT_VARIABLE} to another one"
        ) from error
    with listener:
        while missing:
            listener.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                connection, _ = listener.accept()
            except TimeoutError as error:
                for connection in found.values():
                    connection.close()
                raise MissingPeerError(
                    f"{cluster.name(min(missing))} did not come within {wait_seconds} s"
                    + (f", nor did {len(missing) - 1} others" if len(missing) > 1 else "")
                ) from error
            index = _greeting(connection, cluster)
            if index in missing:
                found[index] = connection
                missing.remove(index)
            else:
                connection.close()
    for connection in found.values():
        _tune(connection)
        _write(connection, {"welcome": True})
    return found


def _greeting(connection, cluster):
    """Return which process of the cluster speaks; `None` for a stranger."""
    connection.settimeout(5)
    try:
        message = json.loads(_read_line(connection))
        return message["index"] if message["cluster"] == _digest(cluster) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _find_chief(cluster, port, deadline, wait_seconds):
    """Connect to the chief and wait until all others have; return the socket."""
    host = cluster.addresses[0].rpartition(":")[0].strip("[]")
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, KeyError), contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection((host, port), timeout=5))
            _write(connection, {"index": cluster.index, "cluster": _digest(cluster)})
            connection.settimeout(max(0.01, deadline + 5 - time.monotonic()))  # the chief names who is missing
            if json.loads(_read_line(connection))["welcome"]:
                _tune(connection)
                stack.pop_all()
                return {0: connection}
        time.sleep(0.2)
    raise MissingPeerError(f"{cluster.name(0)} and all others did not meet within {wait_seconds} s, on port {port}")


def _read_line(connection):
    line = b""
    while not line.endswith(b"\n") and len(line) < LONGEST_LINE:
        received = connection.recv(1)
        if not received:
            raise ConnectionError
        line += received
    return line


def _tune(connection):
    """Wait for messages for as long as it takes, but notice a machine that no longer answers."""
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", SILENCE_SECONDS // 5 - 1)):
        if hasattr(socket, name):  # Linux
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _digest(cluster):
    return hashlib.sha256(json.dumps(cluster.addresses).encode()).hexdigest()
