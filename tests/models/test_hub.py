"""The hub as localent meets it: a stand-in server on loopback that speaks its protocol, and all that can go wrong."""

import gzip
import hashlib
import http.server
import io
import json
import threading
import time
import types
import urllib.parse
import zipfile

import pytest

from localent.errors import LocalentError, UsageError
from localent.machine import hardware
from localent.models import answers, datasets, find, hub, pull, repos, resolve

CONTENT = bytes(hashlib.sha256(bytes([i % 251])).digest()[i % 32] for i in range(300_000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MINE = """
[mine]
repo = "someone/Mine-GGUF"
file = "mine-{quant}.gguf"
default = "Q4_K_M"
family = "mine"
stage = "base"
licence = "MIT"
"""


class Stub:
    """What the server holds, how it misbehaves, and what it was asked."""

    def __init__(self):
        self.files = {"mine-Q4_K_M.gguf": CONTENT}
        self.fault = None  # "gated", "forbidden", "truncated", ...
        self.faults_left = 10**6
        self.asked = []
        self.lies, self.honest, self.n_answered = {}, 0, 0  # headers, after so many honest answers
        self.hub = self.cdn = ""

    def take_fault(self, *names):
        """Whether one of these faults is due now."""
        if self.fault in names and self.faults_left > 0:
            self.faults_left -= 1
            return True
        return False


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        stub = self.server.stub
        stub.asked.append((self.command, self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if self.path.startswith("/cdn/"):
            return self.send_content(stub, self.path.removeprefix("/cdn/").partition("?")[0])
        if self.path.startswith("/api/models/"):
            if not self.path.startswith("/api/models/someone/Mine-GGUF/"):
                head = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
                return self.reply(404, head)
            if stub.take_fault("silent listing"):
                return time.sleep(1.5)
            if stub.take_fault("endless listing"):
                entry = {"type": "file", "path": f"{len(stub.asked)}.txt", "size": 1, "oid": "0"}
                head = {"Content-Type": "application/json", "Link": f'<{stub.hub}{self.path}>; rel="next"'}
                return self.reply(200, head, json.dumps([entry]).encode())
            if stub.take_fault("listing elsewhere"):
                head = {"Content-Type": "application/json", "Link": f'<{stub.cdn}{self.path}>; rel="next"'}
                return self.reply(200, head, b"[]")
            listing = [{"type": "file", "path": n, "size": len(c), "oid": "0"} for n, c in stub.files.items()]
            return self.reply(200, {"Content-Type": "application/json"}, json.dumps(listing).encode())
        self.resolve(stub)

    def resolve(self, stub):
        """/OWNER/NAME/resolve/REVISION/FILE, of a data set after /datasets: who may have it, and where it lies."""
        path = urllib.parse.unquote(self.path)
        is_data, path = path.startswith("/datasets/"), path.removeprefix("/datasets")
        _, owner, name, _resolve, revision, file = path.split("/", 5)
        refusals = {
            "gated": (401, "GatedRepo", "Access to model is restricted"),
            "forbidden": (403, "GatedRepo", "Your request to access is awaiting a review"),
            "no repository": (404, "RepoNotFound", "Repository not found"),
            "private": (401, "RepoNotFound", "Invalid credentials"),
            "broken": (500, "", "Internal error"),
        }
        if stub.fault in refusals and stub.take_fault(stub.fault):
            code, error, message = refusals[stub.fault]
            return self.reply(code, {"X-Error-Code": error, "X-Error-Message": message})
        if revision not in ("main", COMMIT, "v1"):
            return self.reply(404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
        if (owner, name) != ("someone", "Mine-Data" if is_data else "Mine-GGUF") or file not in stub.files:
            return self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
        content = stub.files[file]
        head = {"Location": f"{stub.cdn}/cdn/{file}?signed=1", "X-Repo-Commit": COMMIT}
        head |= {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"'}
        stub.n_answered += 1
        if stub.n_answered > stub.honest:
            head |= stub.lies
        self.reply(302, head)

    def send_content(self, stub, file):
        content = stub.files[file]
        start = int(self.headers["Range"].split("=")[1].split("-")[0]) if self.headers.get("Range") else 0
        if stub.take_fault("416") or start >= len(content):
            return self.reply(416, {"Content-Range": f"bytes */{len(content)}"})
        if stub.take_fault("wrong hash"):
            content = content[:-1] + bytes([content[-1] ^ 1])
        if stub.take_fault("short"):
            content = content[: len(content) // 2]
        if stub.take_fault("stalled"):
            time.sleep(1.5)
        if stub.take_fault("endless"):
            return self.send_without_end()
        if stub.take_fault("packed"):
            return self.reply(200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(50_000_000)))
        if stub.take_fault("patient"):
            return self.reply(429, {"Retry-After": "999999999"})
        if stub.take_fault("rationed"):
            return self.reply(429, {"RateLimit": '"api";r=0;t=999999'})
        if stub.take_fault("round"):
            return self.reply(302, {"Location": self.path})
        if stub.take_fault("local"):
            return self.reply(302, {"Location": "file:///etc/passwd"})
        body = content[start:]
        code, head = (
            (206, {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}) if start else (200, {})
        )
        if stub.take_fault("dropped", "truncated"):
            self.reply(
                code, head | {"Content-Length": str(len(body))}, body[:100_000] if stub.fault == "dropped" else b""
            )
            self.close_connection = True
            return
        self.reply(code, head, body, pause=0.05 if stub.take_fault("slow") else 0)

    def send_without_end(self):
        """In chunks, so that no length is told; far more than the file, but tests must end."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(600):
            self.wfile.write(b"19000\r\n" + bytes(0x19000) + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def reply(self, code, head, body=b"", pause=0.0):
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | head).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            for i in range(0, len(body), 50_000):
                time.sleep(pause)
                self.wfile.write(body[i : i + 50_000])


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        pass  # the client hung up: that is what is tested


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """A hub and its content network on two ports, an empty cache, one model of the user's own."""
    held, servers = Stub(), []
    for _ in range(2):
        server = Server(("127.0.0.1", 0), Handler)
        server.stub = held
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
    held.hub, held.cdn = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    (tmp_path / "config" / "localent").mkdir(parents=True)
    (tmp_path / "config" / "localent" / "models.toml").write_text(MINE)
    for name, value in {
        "HF_ENDPOINT": held.hub,
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "LOCALENT_CACHE": str(tmp_path / "cache"),
        "LOCALENT_DATA": str(tmp_path / "data"),
        "LOCALENT_DATA_MIRROR": held.hub,
        "NO_PROXY": "127.0.0.1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HOME": str(tmp_path / "home"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    import huggingface_hub.file_download

    hurried = types.SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None})  # its pauses between tries
    monkeypatch.setattr(huggingface_hub.file_download, "time", hurried)
    yield held
    for server in servers:
        server.shutdown()
        server.server_close()


def fetch(revision=None, quant="Q4_K_M"):
    entry, _ = find("mine")
    return hub.pull(entry, quant, revision)


def blobs():
    """Files of the cache that hold content, whole or in part."""
    return [path for path in hub.hub_cache().rglob("*") if path.is_file() and path.parent.name == "blobs"]


def snapshots():
    return list(hub.hub_cache().rglob("*.gguf"))


def test_a_pull_brings_the_file_checked(stub):
    fetched = fetch()
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.sha256, fetched.commit, fetched.n_files, fetched.n_bytes) == (SHA256, COMMIT, 1, len(CONTENT))
    assert resolve("mine") == resolve("mine:q4_k_m") == fetched.path
    assert (hub.hub_cache() / "models--someone--Mine-GGUF" / "refs" / "main").read_text() == COMMIT


def test_a_second_pull_fetches_nothing(stub):
    fetch()
    stub.asked.clear()
    fetch()
    assert not [asked for asked in stub.asked if asked[0] == "GET"]


def test_the_hubs_own_client_finds_what_was_pulled(stub):
    from huggingface_hub import try_to_load_from_cache

    path = fetch().path
    assert try_to_load_from_cache("someone/Mine-GGUF", "mine-Q4_K_M.gguf", cache_dir=hub.hub_cache()) == str(path)


FAILURES = [
    ("gated", r"is gated: accept its licence \(MIT\) at https://huggingface.co/someone/Mine-GGUF, then set HF_TOKEN"),
    ("forbidden", "is gated: accept its licence"),
    ("no repository", "has no someone/Mine-GGUF, or only for those with access"),
    ("private", "has no someone/Mine-GGUF, or only for those with access"),
    ("broken", "could not be fetched .*try again"),
    ("416", "could not be fetched .*try again"),
    ("truncated", "could not be fetched .*try again"),
    ("short", "could not be fetched .*try again"),
    ("wrong hash", "came damaged .its sha256 is not the hub's. and was removed: pull it again"),
    ("stalled", "could not be fetched .*try again"),
    ("endless", "sends more than it announced: nothing was kept"),
    ("packed", "sends compressed data, which was not asked for"),
    ("patient", "asks to wait for longer than 60 s: try again later"),
    ("rationed", "asks to wait for longer than 60 s: try again later"),
    ("round", "could not be fetched .*try again"),
    ("local", "could not be fetched .*try again"),
]


@pytest.mark.parametrize(("fault", "sentence"), FAILURES)
def test_after_a_failure_the_cache_is_clean_and_the_next_call_succeeds(stub, monkeypatch, fault, sentence):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3 if fault == "stalled" else 5)
    stub.fault = fault
    with pytest.raises(LocalentError, match=sentence) as refused:
        fetch()
    assert "\n" not in str(refused.value)
    assert blobs() == []
    assert snapshots() == []
    with pytest.raises(LocalentError, match="is not on this disk: fetch it with 'localent pull mine:Q4_K_M'"):
        resolve("mine")
    stub.fault = None
    assert fetch().path.read_bytes() == CONTENT


LIES = [
    {"X-Linked-Etag": '"../../../../{}"'},
    {"X-Linked-Etag": '"/{}"'},
    {"X-Linked-Etag": 'W/"..%2f{}"'},
    {"X-Linked-Etag": '"{}.pth"'},
    {"X-Repo-Commit": "../../{}"},
    {"X-Repo-Commit": "{}"},
    {"X-Xet-Hash": "../{}", "Link": '<https://localhost/x>; rel="xet-auth"'},
]


@pytest.mark.parametrize("honest", [0, 1])
@pytest.mark.parametrize("lie", LIES, ids=str)
def test_what_a_hub_calls_its_files_cannot_lead_out_of_the_cache(stub, tmp_path, lie, honest):
    """Neither in its first answer nor in the second, which the hub's own client asks for."""
    stub.lies, stub.honest = {name: value.format("evil") for name, value in lie.items()}, honest
    with pytest.raises(LocalentError, match="names no file of a hub"):
        fetch()
    assert blobs() == []
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]


@pytest.mark.parametrize(
    "name", ["../../evil-Q4_K_M.gguf", "/evil-Q4_K_M.gguf", "a/../evil-Q4_K_M.gguf", "\x1b[2J-Q4_K_M.gguf"]
)
def test_a_listed_name_that_is_no_name_is_none(stub, tmp_path, name):
    stub.files = {name: CONTENT}
    with pytest.raises(LocalentError, match="has no GGUF model"):
        hub.pull_repo(repos.parse("someone/Mine-GGUF"))
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]


@pytest.mark.parametrize("size", ["-5", "99999999999999999999", "1"])
def test_another_length_than_the_file_has(stub, size):
    stub.lies = {"X-Linked-Size": size}
    with pytest.raises(LocalentError):
        fetch()
    assert blobs() == []


def test_a_listing_that_does_not_end_is_left(stub, monkeypatch):
    monkeypatch.setattr(hub, "MOST_FILES", 5)
    stub.fault = "endless listing"
    with pytest.raises(LocalentError, match="lists more than 5 files"):
        hub.pull_repo(repos.parse("someone/Mine-GGUF"))
    assert len(stub.asked) <= 6


def test_a_listing_that_does_not_come_is_not_waited_for(stub, monkeypatch):
    from huggingface_hub.utils import _http

    monkeypatch.setattr(answers, "ANSWER_S", 0.2)
    monkeypatch.setattr(_http, "time", types.SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None}))
    stub.fault = "silent listing"
    with pytest.raises(LocalentError, match="could not be fetched"):
        hub.pull_repo(repos.parse("someone/Mine-GGUF"))


def test_the_token_goes_nowhere_that_a_listing_points_to(stub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(hub, "endpoint", lambda: stub.hub.replace("127.0.0.1", "localhost"))
    stub.fault, stub.faults_left = "listing elsewhere", 1
    hub.pull_repo(repos.parse("someone/Mine-GGUF"))
    tokens = [token for _, path, _, token in stub.asked if path.startswith("/api/models/")]
    assert tokens == ["Bearer hf_secret", None]


def test_a_users_own_file_in_the_cache_is_not_removed(stub, tmp_path):
    """Linked into the snapshot by hand; it is not what the hub has, but it is theirs."""
    path, own = fetch().path, tmp_path / "own.gguf"
    own.write_bytes(CONTENT[:-1] + b"!")
    path.unlink()
    path.symlink_to(own)
    with pytest.raises(LocalentError, match="came damaged"):
        fetch()
    assert own.exists()


def test_a_dropped_connection_is_taken_up_where_it_broke(stub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 20_000)  # it writes in chunks of 10 MB
    stub.fault, stub.faults_left = "dropped", 2
    assert fetch().path.read_bytes() == CONTENT
    ranges = [asked[2] for asked in stub.asked if asked[0] == "GET" and asked[2]]
    assert ranges == ["bytes=100000-", "bytes=200000-"]


def test_a_slow_server_is_waited_for(stub):
    stub.fault = "slow"
    assert fetch().path.read_bytes() == CONTENT


def test_the_token_goes_to_the_hub_and_not_to_its_content_network(stub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch()
    sent = {path.startswith("/cdn/"): token for _, path, _, token in stub.asked}
    assert sent == {False: "Bearer hf_secret", True: None}


def test_a_quant_that_is_not_there(stub):
    with pytest.raises(LocalentError, match=r"no Q8_0 of mine .*It has Q4_K_M\."):
        fetch(quant="Q8_0")
    assert blobs() == []


def test_a_revision(stub):
    assert fetch("v1").commit == COMMIT
    with pytest.raises(LocalentError, match="has no revision 'v2'"):
        fetch("v2")
    with pytest.raises(UsageError, match="is not a revision"):
        fetch("../../main")


def test_a_split_model_comes_whole(stub):
    stub.files = {f"mine-Q8_0-0000{i}-of-00003.gguf": CONTENT + bytes([i]) for i in (1, 2, 3)}
    fetched = fetch(quant="Q8_0")
    assert (fetched.n_files, fetched.path.name) == (3, "mine-Q8_0-00001-of-00003.gguf")
    assert resolve("mine:Q8_0") == fetched.path
    fetched.path.with_name("mine-Q8_0-00002-of-00003.gguf").unlink()
    with pytest.raises(LocalentError, match="is not on this disk"):
        resolve("mine:Q8_0")


def test_a_split_model_whose_last_part_fails_is_not_there(stub):
    stub.files = {f"mine-Q8_0-0000{i}-of-00002.gguf": CONTENT + bytes([i]) for i in (1, 2)}
    whole = stub.files.pop("mine-Q8_0-00002-of-00002.gguf")
    with pytest.raises(LocalentError, match=r"lists .* but does not have it"):
        fetch(quant="Q8_0")
    stub.files["mine-Q8_0-00002-of-00002.gguf"] = whole
    assert fetch(quant="Q8_0").n_files == 2


def test_a_file_damaged_on_this_disk_is_not_used(stub):
    path = fetch().path.resolve()
    path.chmod(0o644)
    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(LocalentError, match="is not what the hub has"):
        resolve("mine")


def test_a_known_hash_is_insisted_on(stub, tmp_path):
    path = tmp_path / "config" / "localent" / "models.toml"
    path.write_text(MINE + f'sha256 = {{Q4_K_M = "{"0" * 64}"}}\n')
    with pytest.raises(LocalentError, match=r"is another file than models\.toml knows"):
        fetch()
    path.write_text(MINE + f'sha256 = {{Q4_K_M = "{SHA256}"}}\n')
    assert fetch().sha256 == SHA256


def test_disk_space_is_looked_at_first(stub, monkeypatch):
    monkeypatch.setattr(hardware.shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=1000))
    with pytest.raises(LocalentError, match=r"needs 0\.0 GB of disk, 0\.0 GB are free"):
        fetch()
    assert not [asked for asked in stub.asked if asked[0] == "GET"]


def test_a_hub_that_is_out_of_reach(stub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(LocalentError, match=r"could not be fetched from http://127\.0\.0\.1:9"):
        fetch()


# ── any repository ──────────────────────────────────────────────────────────────────────────────────────────────


def test_any_repository_is_pulled_by_quant_and_then_found(stub):
    """The file comes from the listing, under any name; NAME without the quant is the only model."""
    stub.files = {"README.md": b"x", "odd_Name.i1-Q6_K.gguf": CONTENT, "mmproj-F16.gguf": b"x", "imatrix.gguf": b"x"}
    with pytest.raises(LocalentError, match="no such model of the hub on this disk: fetch it with 'localent pull some"):
        resolve("someone/Mine-GGUF:Q6_K")
    path = pull("someone/Mine-GGUF:q6_k")
    assert (path.name, path.read_bytes()) == ("odd_Name.i1-Q6_K.gguf", CONTENT)
    for name in ("someone/Mine-GGUF", "someone/Mine-GGUF:Q6_K", "hf.co/someone/Mine-GGUF:odd_Name.i1-Q6_K.gguf"):
        assert resolve(name) == path
    assert pull("https://huggingface.co/someone/Mine-GGUF") == path


def test_a_repositorys_split_model_in_a_folder_comes_whole(stub):
    parts = {f"Q8_0/big-Q8_0-0000{i}-of-00002.gguf": CONTENT + bytes([i]) for i in (1, 2)}
    stub.files = {"big-Q4_K_M.gguf": b"x", **parts}
    path = pull("someone/Mine-GGUF:Q8_0")
    assert (path.name, path.parent.name) == ("big-Q8_0-00001-of-00002.gguf", "Q8_0")
    assert path.with_name("big-Q8_0-00002-of-00002.gguf").read_bytes() == CONTENT + b"\2"
    assert resolve("someone/Mine-GGUF:Q8_0") == path
    path.with_name("big-Q8_0-00002-of-00002.gguf").unlink()
    with pytest.raises(LocalentError, match=r"is no file .* no such model of the hub on this disk"):
        resolve("someone/Mine-GGUF:Q8_0")


@pytest.mark.parametrize(
    ("files", "tag", "sentence"),
    [
        (["a-Q8_0.gguf", "a-Q6_K.gguf"], ":Q5_K_M", r"has no Q5_K_M: it has Q6_K, Q8_0\."),
        (["a-Q8_0.gguf", "a-Q6_K.gguf"], "", r"has several models: name one, .*someone/Mine-GGUF:Q6_K \(of Q6_K, Q8_0"),
        (
            ["a-Q8_0.gguf", "b-Q8_0.gguf"],
            ":Q8_0",
            r"has several of Q8_0: name one, .*:a-Q8_0 \(of a-Q8_0, b-Q8",
        ),
        (["model.safetensors"], "", "has no GGUF model: look for a repository of its name with -GGUF"),
        (["../../x-Q8_0.gguf", "/x-Q8_0.gguf"], ":Q8_0", "has no GGUF model"),
        (["mmproj-Q8_0.gguf"], ":Q8_0", "has no GGUF model"),
        (["a-Q4_K_M.gguf"], ":Q4_K", r"has no Q4_K: it has Q4_K_M\."),
    ],
)
def test_a_name_that_means_no_file_or_several(stub, files, tag, sentence):
    stub.files = dict.fromkeys(files, CONTENT)
    with pytest.raises(LocalentError, match=sentence):
        pull(f"someone/Mine-GGUF{tag}")
    assert blobs() == []


def test_without_a_quant_the_usual_one_is_meant(stub):
    """As in llama.cpp and Ollama; a file named in full comes before the quants of others."""
    stub.files = {"a-Q4_K_M.gguf": CONTENT, "a-Q8_0.gguf": b"8", "a-UD-Q4_K_XL.gguf": b"xl"}
    assert pull("someone/Mine-GGUF").name == "a-Q4_K_M.gguf"
    assert pull("someone/Mine-GGUF:Q4_K_XL").name == "a-UD-Q4_K_XL.gguf"
    assert pull("someone/Mine-GGUF:UD-Q4_K_XL").name == "a-UD-Q4_K_XL.gguf"
    assert pull("someone/Mine-GGUF:a-Q8_0").read_bytes() == b"8"
    assert resolve("someone/Mine-GGUF").name == "a-Q4_K_M.gguf"


def test_a_repository_that_is_not_there(stub):
    with pytest.raises(LocalentError, match="has no else/Other-GGUF, or only for those with access"):
        pull("else/Other-GGUF:Q8_0")
    with pytest.raises(LocalentError, match="has no revision 'v2'"):
        pull("someone/Mine-GGUF:Q4_K_M", "v2")
    stub.fault = "gated"
    with pytest.raises(LocalentError, match=r"is gated: accept its licence at https://huggingface\.co/someone/Mine"):
        pull("someone/Mine-GGUF:Q4_K_M")


def test_the_command_pulls_any_repository(stub):
    from click.testing import CliRunner

    from localent.cli import main

    done = CliRunner().invoke(main, ["pull", "someone/Mine-GGUF:Q4_K_M"])
    assert done.exit_code == 0
    assert done.stdout.strip().endswith("mine-Q4_K_M.gguf")


@pytest.mark.parametrize("text", ["a/b.gguf", "/a/b", "./a", "a/b/c", "a:b", "../a:b", "a/b:../c", "a//b", "~/a"])
def test_a_path_is_no_repository(text):
    assert repos.parse(text) is None


# ── data sets ───────────────────────────────────────────────────────────────────────────────────────────────────


class DataHandler(http.server.BaseHTTPRequestHandler):
    """Plain files with ranges."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        content, fault = self.server.files.get(self.path), self.server.fault
        if fault == "dropped":
            self.close_connection = True
            return
        if fault == "stalled":
            time.sleep(1.0)
        head, code = b"" if content is None else content, 404 if content is None else 200
        if self.headers.get("Range"):
            first, last = map(int, self.headers["Range"].split("=")[1].split("-"))
            head, code = content[first : last + 1], 206
        self.server.sent += len(head) * (self.command == "GET")
        self.send_response(code)
        self.send_header("Content-Length", str(len(head)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(head[: len(head) // 2] if fault == "truncated" else head)
            self.close_connection = fault == "truncated"


@pytest.fixture
def mirror(stub, monkeypatch):
    server = Server(("127.0.0.1", 0), DataHandler)
    server.files, server.sent, server.fault = {}, 0, None
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("LOCALENT_DATA_MIRROR", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


def path_of(url):
    return "/" + url.split("/", 3)[3]


@pytest.mark.parametrize(("name", "local"), [("gsm8k", "gsm8k/test.jsonl"), ("svamp", "svamp/SVAMP.json")])
def test_the_pinned_hashes_are_those_of_the_public_files(mirror, shared, name, local):
    """The files beside this repository were fetched from the sets' homes by others."""
    from localent import tasks

    mirror.files[path_of(datasets.SETS[name][0].url)] = (shared / local).read_bytes()
    [path] = datasets.pull(name)
    assert path.read_bytes() == (shared / local).read_bytes()
    assert len(tasks.load(name).problems) > 900
    mirror.files.clear()
    assert datasets.pull(name) == [path]  # nothing is fetched twice


def test_a_changed_data_set_is_refused(mirror):
    file = datasets.SETS["gsm8k"][0]
    mirror.files[path_of(file.url)] = b'{"question": "?", "answer": "1"}\n' * file.n_rows
    with pytest.raises(LocalentError, match="is not the pinned file"):
        datasets.pull("gsm8k")
    assert not (datasets.data_home() / "gsm8k").exists()
    with pytest.raises(LocalentError, match=r"could not be fetched from .*HTTP 404.*use --data"):
        datasets.pull("svamp")


@pytest.mark.parametrize("fault", ["truncated", "dropped", "stalled"])
@pytest.mark.parametrize("name", ["tiny", "tiny in an archive"])
def test_after_a_failure_of_a_data_set_nothing_is_kept_and_the_next_call_succeeds(mirror, monkeypatch, fault, name):
    rows, held = b'{"question": "1 + 1?", "answer": "2"}\n' * 50, io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("tiny.jsonl", rows)
    mirror.files |= {"/tiny.jsonl": rows, "/tiny.zip": held.getvalue()}
    whole = datasets.File("tiny", "tiny.jsonl", "https://home/tiny.jsonl", 50)
    packed = datasets.File("tiny", "tiny.jsonl", "https://home/tiny.zip", 50, member="tiny.jsonl")
    monkeypatch.setattr(datasets, "SETS", {"tiny": (whole,), "tiny in an archive": (packed,)})
    monkeypatch.setattr(datasets, "NAMES", tuple(datasets.SETS))
    monkeypatch.setattr(datasets, "TIMEOUT_S", 0.3)
    mirror.fault = fault
    with pytest.raises(LocalentError, match=r"could not be fetched from .*try again") as refused:
        datasets.pull(name)
    assert "\n" not in str(refused.value)
    assert not (datasets.data_home() / "tiny").exists()
    mirror.fault = None
    assert [path.read_bytes() for path in datasets.pull(name)] == [rows]


def test_arc_comes_out_of_its_archive_by_ranges(mirror):
    """Two small files and a corpus of 5 MB, of which nearly nothing is fetched."""
    row = (
        b'{"id": "%d", "question": {"stem": "?", "choices": [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}]}'
    )
    row += b', "answerKey": "A"}\n'
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("ARC-V1-Feb2018-2/ARC_Corpus.txt", CONTENT * 17)
        for file in datasets.SETS["arc"]:
            archive.writestr(file.member, b"".join(row % i for i in range(file.n_rows)), zipfile.ZIP_DEFLATED)
    mirror.files[path_of(datasets.ARC)] = held.getvalue()
    paths = datasets.pull("arc")
    assert [path.name for path in paths] == ["ARC-Easy-Test.jsonl", "ARC-Challenge-Test.jsonl"]
    assert [path.read_bytes().count(b"\n") for path in paths] == [2376, 1172]
    assert mirror.sent < len(held.getvalue()) * 0.6
    assert datasets.pull("arc-challenge") == paths[1:]


def test_a_damaged_archive_is_refused(mirror):
    mirror.files[path_of(datasets.ARC)] = CONTENT
    with pytest.raises(LocalentError, match="could not be fetched"):
        datasets.pull("arc-easy")
    with pytest.raises(UsageError, match="No data set 'nothing': choose from gsm8k"):
        datasets.pull("nothing")


# ── tasks of tasks.toml ─────────────────────────────────────────────────────────────────────────────────────────

ROWS = b'{"q": "1 + 1?", "a": 2}\n{"q": "1 + 2?", "a": 3}\n'
TASK = """
[sums]
about = "Sums."
kind = "number"
chance = 0
licence = "MIT"
home = "https://home"
small = "-"
files = ["test.jsonl"]
layouts = [{question = "q", answer = "a"}]
repo = "someone/Mine-Data"
fetch = ["main/test.jsonl"]
"""


def add_task(tmp_path, more="", task=TASK):
    (tmp_path / "config" / "localent" / "tasks.toml").write_text(task + more)


@pytest.mark.parametrize("pin", ["", f'revision = "{COMMIT}"\n', f'sha256 = "{hashlib.sha256(ROWS).hexdigest()}"\n'])
def test_a_task_is_pulled_from_its_data_set_and_found(stub, tmp_path, pin):
    from localent import tasks

    add_task(tmp_path, pin)
    stub.files = {"main/test.jsonl": ROWS}
    with pytest.raises(UsageError, match="sums is not on this disk: fetch it with 'localent pull sums'"):
        tasks.load("sums")
    [path] = datasets.pull("sums")
    assert path == datasets.data_home() / "sums" / "test.jsonl"
    assert [p.answer for p in tasks.load("sums").problems] == ["2", "3"]
    assert {asked[1].split("/resolve/")[1].split("/")[0] for asked in stub.asked if "/resolve/" in asked[1]} == {
        COMMIT if "revision" in pin else "main"
    }
    assert all(asked[1].startswith(("/datasets/someone/Mine-Data/", "/cdn/")) for asked in stub.asked)


def test_another_file_than_the_pinned_one_is_refused_and_not_kept(stub, tmp_path):
    add_task(tmp_path, f'sha256 = "{SHA256}"\n')
    stub.files = {"main/test.jsonl": ROWS}
    with pytest.raises(LocalentError, match=r"Mine-Data/main/test\.jsonl is another file than tasks\.toml knows"):
        datasets.pull("sums")
    assert not (datasets.data_home() / "sums").exists()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "gated",
            r"someone/Mine-Data is gated: accept its licence \(MIT\) at .*/datasets/someone/Mine-Data, then set HF_T",
        ),
        ("no repository", "The hub has no someone/Mine-Data"),
        ("broken", "could not be fetched"),
        (None, r"The hub has no main/test\.jsonl in someone/Mine-Data: see .*/datasets/someone/Mine-Data"),
    ],
)
def test_what_the_hub_refuses_of_a_data_set_is_explained(stub, tmp_path, fault, message):
    add_task(tmp_path)
    stub.files, stub.fault = {}, fault
    with pytest.raises(LocalentError, match=message):
        datasets.pull("sums")


def test_a_file_elsewhere_is_pulled_by_its_pinned_hash(mirror, tmp_path):
    elsewhere = TASK.partition("repo")[0] + 'url = "https://home/folder/test.jsonl"\n'
    add_task(tmp_path, f'sha256 = "{hashlib.sha256(ROWS).hexdigest()}"\n', elsewhere)
    mirror.files["/folder/test.jsonl"] = ROWS
    assert [path.read_bytes() for path in datasets.pull("sums")] == [ROWS]
    add_task(tmp_path, f'sha256 = "{SHA256}"\n', elsewhere)
    with pytest.raises(LocalentError, match="is not the pinned file"):
        datasets.pull("sums")


def test_a_task_without_a_known_file_says_where_its_home_is(stub, tmp_path):
    add_task(tmp_path, "", TASK.partition("repo")[0])
    with pytest.raises(UsageError, match="No file of sums is known: get it from https://home and name it with --data"):
        datasets.pull("sums")
