"""What processes of a cluster tell each other, here as threads with sockets on this machine."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rsr_tf.training import peers
from rsr_tf.training.cluster import Cluster
from rsr_tf.training.peers import MissingPeerError, Peers, peers_port


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def cluster():
    """Run a function of `Peers` on three threads, and return their results; `lost` collects who was missed."""
    port, lost = free_port(), []

    def run(function, count=3, **options):
        addresses = tuple(f"localhost:{port + index}" for index in range(count))

        def work(index):
            own = Peers(Cluster(addresses, index), port=port, on_loss=lost.append, **options)
            try:
                return function(own)
            finally:
                own.leave()

        with ThreadPoolExecutor(count) as pool:
            return [each.result(20) for each in [pool.submit(work, index) for index in range(count)]]

    run.lost, run.port = lost, port
    return run


def test_all_get_what_the_chief_says(cluster):
    assert cluster(lambda own: own.broadcast(["chief", own.cluster.index])) == [["chief", 0]] * 3
    assert cluster.lost == []


def test_chief_gets_what_all_say(cluster):
    assert cluster(lambda own: own.gather(own.cluster.index * 2)) == [[0, 2, 4], None, None]


def test_all_raise_if_one_disagrees(cluster):
    def disagree(own):
        with pytest.raises(ValueError, match=r"all workers must have the same epochs. Received: 3 on worker 0 ") as e:
            own.agree(4 if own.cluster.index == 2 else 3, "epochs")
        return str(e.value)

    messages = cluster(disagree)
    assert len(set(messages)) == 1
    assert messages[0].endswith(f"4 on worker 2 (localhost:{cluster.port + 2})")


def test_chief_goes_through_a_block_first(cluster):
    order = []

    def work(own):
        with own.chief_first():
            if own.cluster.is_chief:
                time.sleep(0.2)
            order.append(own.cluster.is_chief)

    cluster(work)
    assert order == [True, False, False]


def test_process_that_does_not_come_is_named(cluster):
    addresses = ("localhost:1", "localhost:2", "localhost:3")
    with pytest.raises(MissingPeerError, match=r"\Aworker 1 \(localhost:2\) did not come within 0.1 s, nor did 1 oth"):
        Peers(Cluster(addresses, 0), port=cluster.port, wait_seconds=0.1)
    with pytest.raises(MissingPeerError, match=r"worker 0 \(localhost:1\) and all others did not meet within 0.1 s"):
        Peers(Cluster(addresses, 1), port=cluster.port, wait_seconds=0.1)


def test_strangers_are_sent_away(cluster):
    def knock():
        for text in (b"GET / HTTP/1.0\r\n\r\n", b'{"index": 1, "cluster": "other"}\n', b"[]\n"):
            for _ in range(50):
                try:
                    with socket.create_connection(("localhost", cluster.port)) as stranger:
                        stranger.sendall(text)
                        break
                except OSError:
                    time.sleep(0.02)

    thread = threading.Thread(target=knock)
    thread.start()
    assert cluster(lambda own: own.broadcast(7)) == [7, 7, 7]
    thread.join()


def test_death_of_a_process_is_news_and_its_leave_is_not(cluster):
    ended = threading.Event()

    def work(own):
        if own.cluster.index == 1:
            next(iter(own._links.values()))._socket.shutdown(socket.SHUT_RDWR)  # as the kernel does after a kill
        ended.wait(0.5)

    cluster(work, count=2)
    assert any(message.startswith("worker 1 (localhost") and "\n" not in message for message in cluster.lost)
    cluster.lost.clear()
    cluster(lambda own: None, count=2)
    assert cluster.lost == []


def test_port_that_is_taken_is_named(cluster):
    message = rf"on port {cluster.port}: .*Set RSR_PEERS_PORT to another one"
    with socket.create_server(("", cluster.port)), pytest.raises(ValueError, match=message):
        Peers(Cluster(("a:1", "b:1"), 0), port=cluster.port)


def test_port_is_above_that_of_the_chief_or_given(monkeypatch):
    assert peers_port(Cluster(("a:2222", "b:7"), 1)) == 3222
    assert peers_port(Cluster(("a:65000", "b:7"), 1)) == 64000
    monkeypatch.setenv(peers.PORT_VARIABLE, "5000")
    assert peers_port(Cluster(("a:2222", "b:7"), 1)) == 5000
