"""weights=pretrained: timm downloads weights, here from a hub on loopback."""

import http.server
import os
import subprocess
import sys
import threading
import time

import pytest
import timm
from safetensors.torch import save

SCRIPT = """
import sys
from affinitynet.networks.backbones import pretrained
try:
    print(float(pretrained(sys.argv[1], "pretrained")["conv1.0.weight"].sum()))
except ValueError as error:
    sys.exit(str(error))
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as huggingface.co does for the weights of one network."""

    weights = b""

    def do_HEAD(self):
        is_there = self.path == "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"
        self.send_response(200 if is_there else 404)
        self.send_header("Content-Length", str(len(self.weights)))
        self.send_header("ETag", '"0123"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(self.weights)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def download(name, port, folder):
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_HOME": str(folder),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    environment.pop("HF_HUB_OFFLINE", None)
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, name], env=environment, capture_output=True, text=True
    )


def test_weights_are_downloaded_where_that_is_asked_for(hub, tmp_path):
    network = timm.create_model("test_resnet")
    Hub.weights = save(network.state_dict())
    result = download("test_resnet", hub.server_port, tmp_path)
    assert result.returncode == 0, result.stderr
    expected = float(network.state_dict()["conv1.0.weight"].sum())
    assert float(result.stdout) == pytest.approx(expected, rel=1e-5)


def test_where_they_cannot_be_had_the_message_says_what_to_do(hub, tmp_path):
    result = download("test_byobnet", hub.server_port, tmp_path)
    assert result.returncode
    message = result.stderr.splitlines()[-1]
    assert message.startswith(
        "weights=pretrained: the weights of test_byobnet cannot be downloaded"
    )
    assert message.endswith("and give weights=<file>")


def test_without_network_the_cache_is_used_or_the_message_comes_at_once(hub, tmp_path):
    Hub.weights = save(timm.create_model("test_resnet").state_dict())
    download("test_resnet", hub.server_port, tmp_path / "filled")
    hub.shutdown()
    hub.server_close()  # the port is closed from here on
    again = download("test_resnet", hub.server_port, tmp_path / "filled")
    assert again.returncode == 0, again.stderr
    begin = time.monotonic()
    result = download("test_resnet", hub.server_port, tmp_path / "empty")
    assert time.monotonic() - begin < 60  # of which most is the import; it repeated for minutes
    assert "does not answer, and its cache has no copy" in result.stderr.splitlines()[-1]
    assert "Retrying" not in result.stderr
