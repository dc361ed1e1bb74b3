"""A Hugging Face Hub for tests: the wire protocol that unmodified clients speak, over one process's memory.

Run it as `python local_hub.py`; it prints the address it listens on. Only what datasets and huggingface_hub ask for
when they push, list and read is here. Files come by LFS or, from clients that have it, by Xet (`hub_xet`). `hub_faults`
makes requests fail, `GET /_log` tells what was asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

import hub_faults
import hub_xet
import uvicorn
from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import JSONResponse

TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}
LFS_SUFFIXES = (".parquet", ".bin", ".safetensors", ".arrow")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC).isoformat().replace("+00:00", ".000Z")


@dataclass
class Commit:
    """One version: every path's content, by hash."""

    sha: str
    files: dict[str, str]
    title: str
    parent: Commit | None = None


@dataclass
class Repository:
    """Commits under the names of branches and tags. `private` and `variables` (of a Space) are only remembered."""

    private: bool
    names: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, Commit] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def add(self, files: dict[str, str], title: str, branch: str, parent: Commit | None) -> Commit:
        sha = hashlib.sha1(json.dumps([files, title, parent and parent.sha, len(self.commits)]).encode()).hexdigest()
        self.names[branch] = self.commits[sha] = Commit(sha, files, title, parent)
        return self.names[branch]

    def find(self, revision: str) -> Commit:
        commit = self.names.get(revision) or self.tags.get(revision) or self.commits.get(revision)
        if commit is None:
            raise Missing("RevisionNotFound", f"Invalid rev id: {revision}")
        return commit


class Missing(Exception):
    """404 with the header by which clients tell what is missing."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message


app = FastAPI()
app.include_router(hub_faults.router)
app.include_router(hub_xet.router)
repositories: dict[tuple[str, str], Repository] = {}
blobs: dict[str, bytes] = {}
large: set[str] = set()
xet_hashes: dict[str, str] = {}
asked: Counter[str] = Counter()


@app.exception_handler(Missing)
async def _missing(request: Request, error: Missing) -> JSONResponse:
    return JSONResponse({"error": error.message}, 404, {"X-Error-Code": error.code, "X-Error-Message": error.message})


@app.middleware("http")
async def _count_and_fail(request: Request, call_next) -> Response:
    if request.url.path.startswith("/_"):
        return await call_next(request)
    asked[f"{request.method} {request.url.path}"] += 1
    return await hub_faults.meet(request, call_next)


@app.get("/_log")
async def log() -> dict:
    return dict(asked)


@app.post("/_forget")
async def forget(request: Request) -> dict:
    """Forget what was asked and the faults to come; with {"all": true} every repository and file too."""
    everything = (await request.json()).get("all")
    for memory in (asked, hub_faults.faults, *((repositories, blobs, large, xet_hashes) if everything else ())):
        memory.clear()
    if everything:
        hub_xet.forget()
    return {}


def repository(kind: str, name: str) -> Repository:
    found = repositories.get((TYPES[kind], name))
    if found is None:
        raise Missing("RepoNotFound", f"Repository {name} not found")
    return found


def git_sha(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def entry(path: str, sha: str) -> dict:
    data = blobs[sha]
    found: dict = {"type": "file", "path": path, "size": len(data), "oid": git_sha(data)}
    if sha in large:
        found["lfs"] = {"oid": sha, "size": len(data), "pointerSize": 130}
    if sha in xet_hashes:
        found["xetHash"] = xet_hashes[sha]
    return found


def store(data: bytes, is_large: bool = False) -> str:
    sha = hashlib.sha256(data).hexdigest()
    blobs[sha] = data
    if is_large:
        large.add(sha)
    return sha


def came(sha: str) -> bool:
    """Whether a large file was uploaded; one that came by Xet is put together and checked."""
    if sha not in blobs and (found := hub_xet.content(sha)) is not None and store(found, True) == sha:
        xet_hashes[sha] = hub_xet.known[sha][0]
    return sha in blobs


@app.get("/api/whoami-v2")
async def whoami() -> dict:
    return {
        "type": "user",
        "id": "0",
        "name": "tester",
        "orgs": [],
        "auth": {"type": "access_token", "accessToken": {"role": "write"}},
    }


@app.post("/api/validate-yaml")
async def validate_yaml() -> dict:
    return {"errors": [], "warnings": []}


@app.post("/api/repos/create")
async def create(request: Request) -> JSONResponse:
    body = await request.json()
    kind, name = body.get("type") or "model", f"{body.get('organization') or 'tester'}/{body['name']}"
    url = f"{request.base_url}{'' if kind == 'model' else kind + 's/'}{name}"
    if (kind, name) in repositories:
        return JSONResponse({"error": "You already created this repo", "url": url}, 409)
    made = repositories[kind, name] = Repository(body.get("visibility") == "private" or bool(body.get("private")))
    made.add({".gitattributes": store(b"*.parquet filter=lfs\n")}, "initial commit", "main", None)
    return JSONResponse({"url": url, "name": name, "id": name})


@app.get("/api/{kind}/{owner}/{name}")
@app.get("/api/{kind}/{owner}/{name}/revision/{revision:path}")
async def info(kind: str, owner: str, name: str, revision: str = "main") -> dict:
    repo = repository(kind, f"{owner}/{name}")
    commit = repo.find(revision)
    return {
        "_id": "0",
        "id": f"{owner}/{name}",
        "author": owner,
        "sha": commit.sha,
        "private": repo.private,
        "lastModified": EPOCH,
        "createdAt": EPOCH,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "siblings": [{"rfilename": path} for path in sorted(commit.files)],
    }


@app.post("/api/{kind}/{owner}/{name}/preupload/{revision:path}")
async def preupload(kind: str, owner: str, name: str, revision: str, request: Request) -> dict:
    commit = repository(kind, f"{owner}/{name}").find(revision)
    told = []
    for file in (await request.json())["files"]:
        is_large = file["path"].endswith(LFS_SUFFIXES) or file["size"] > 10 * 2**20
        sha = commit.files.get(file["path"])
        oid = None if sha is None else sha if sha in large else git_sha(blobs[sha])
        told.append({"path": file["path"], "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False, "oid": oid})
    return {"files": told}


@app.post("/{prefix:path}.git/info/lfs/objects/batch")
async def lfs_batch(prefix: str, request: Request) -> dict:
    objects = []
    for wanted in (await request.json())["objects"]:
        action = {
            "upload": {"href": f"{request.base_url}lfs/{wanted['oid']}"},
            "verify": {"href": f"{request.base_url}lfs/verify"},
        }
        objects.append({**wanted, **({} if wanted["oid"] in blobs else {"actions": action})})
    return {"transfer": "basic", "objects": objects}


@app.put("/lfs/{oid}")
async def lfs_put(oid: str, request: Request) -> Response:
    data = await request.body()
    asked["lfs put"] += 1
    asked["lfs bytes"] += len(data)
    return Response(status_code=200 if store(data, True) == oid else 400)


@app.post("/lfs/verify")
async def lfs_verify(request: Request) -> Response:
    wanted = await request.json()
    return Response(status_code=200 if len(blobs.get(wanted["oid"], b"")) == wanted["size"] else 404)


@app.post("/api/{kind}/{owner}/{name}/commit/{revision:path}")
async def commit(kind: str, owner: str, name: str, revision: str, request: Request) -> JSONResponse:
    lines = (await request.body()).splitlines()  # all that waits comes before the parent is looked up
    repo = repository(kind, f"{owner}/{name}")
    parent = repo.find(revision)
    files, title = dict(parent.files), ""
    for line in lines:
        step = json.loads(line)
        value = step["value"]
        match step["key"]:
            case "header":
                title = value["summary"]
                if value.get("parentCommit") not in (None, parent.sha):
                    return JSONResponse({"error": "A commit has happened since. Please refresh and try again."}, 412)
            case "file":
                files[value["path"]] = store(base64.b64decode(value["content"]))
            case "lfsFile":
                if not came(value["oid"]):
                    return JSONResponse({"error": f"LFS object {value['oid']} was never uploaded"}, 400)
                large.add(value["oid"])
                files[value["path"]] = value["oid"]
            case "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise Missing("EntryNotFound", "A file with this name doesn't exist")
            case "deletedFolder":
                files = {path: sha for path, sha in files.items() if not path.startswith(value["path"].rstrip("/") + "/")}
    made = repo.add(files, title, revision, parent)
    url = f"{request.base_url}{kind}/{owner}/{name}/commit/{made.sha}"
    return JSONResponse({"success": True, "commitOid": made.sha, "commitUrl": url})


@app.get("/api/{kind}/{owner}/{name}/tree/{rest:path}")
async def tree(kind: str, owner: str, name: str, rest: str, recursive: bool = False) -> list[dict]:
    repo = repository(kind, f"{owner}/{name}")
    revision, _, folder = rest.partition("/")
    commit = repo.find(revision)
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    inside = {path: sha for path, sha in sorted(commit.files.items()) if path.startswith(prefix)}
    if prefix and not inside:
        raise Missing("EntryNotFound", f"{folder} does not exist on {revision}")
    folders: dict[str, dict] = {}
    files = []
    for path, sha in inside.items():
        steps = path[len(prefix) :].split("/")
        for depth in range(1, len(steps) if recursive else min(len(steps), 2)):
            above = prefix + "/".join(steps[:depth])
            folders[above] = {"type": "directory", "path": above, "size": 0, "oid": git_sha(above.encode())}
        if recursive or len(steps) == 1:
            files.append(entry(path, sha))
    return [*folders.values(), *files]


@app.post("/api/{kind}/{owner}/{name}/paths-info/{revision:path}")
async def paths_info(kind: str, owner: str, name: str, revision: str, paths: Annotated[list[str], Form()]) -> list[dict]:
    commit = repository(kind, f"{owner}/{name}").find(revision)
    found = []
    for path in (path.strip("/") for path in paths):
        if path in commit.files:
            found.append(entry(path, commit.files[path]))
        elif any(file.startswith(f"{path}/") for file in commit.files) or not path:
            found.append({"type": "directory", "path": path, "size": 0, "oid": git_sha(path.encode())})
    return found


@app.get("/api/{kind}/{owner}/{name}/refs")
async def refs(kind: str, owner: str, name: str) -> dict:
    repo = repository(kind, f"{owner}/{name}")

    def listed(names: dict[str, Commit], folder: str) -> list[dict]:
        return [{"name": key, "ref": f"refs/{folder}/{key}", "targetCommit": commit.sha} for key, commit in names.items()]

    return {"branches": listed(repo.names, "heads"), "converts": [], "tags": listed(repo.tags, "tags")}


@app.get("/api/{kind}/{owner}/{name}/commits/{revision:path}")
async def commits(kind: str, owner: str, name: str, revision: str) -> list[dict]:
    commit: Commit | None = repository(kind, f"{owner}/{name}").find(revision)
    listed = []
    while commit is not None:
        listed.append({"id": commit.sha, "title": commit.title, "message": "", "authors": [], "date": EPOCH})
        commit = commit.parent
    return listed


@app.post("/api/{kind}/{owner}/{name}/branch/{branch:path}")
async def branch(kind: str, owner: str, name: str, branch: str, request: Request) -> JSONResponse:
    repo = repository(kind, f"{owner}/{name}")
    body = await request.body()
    if branch in repo.names:
        return JSONResponse({"error": "Reference already exists"}, 409)
    repo.names[branch] = repo.find((json.loads(body) if body else {}).get("startingPoint") or "main")
    return JSONResponse({}, 201)


@app.delete("/api/{kind}/{owner}/{name}/branch/{branch:path}")
async def delete_branch(kind: str, owner: str, name: str, branch: str) -> dict:
    if repository(kind, f"{owner}/{name}").names.pop(branch, None) is None:
        raise Missing("RevisionNotFound", f"Invalid rev id: {branch}")
    return {}


@app.post("/api/{kind}/{owner}/{name}/tag/{revision:path}")
async def tag(kind: str, owner: str, name: str, revision: str, request: Request) -> JSONResponse:
    repo, wanted = repository(kind, f"{owner}/{name}"), (await request.json())["tag"]
    if wanted in repo.tags:
        return JSONResponse({"error": "Tag already exists"}, 409)
    repo.tags[wanted] = repo.find(revision)
    return JSONResponse({}, 201)


@app.get("/api/spaces/{owner}/{name}/variables")
async def list_variables(owner: str, name: str) -> dict:
    return {key: {"value": value, "updatedAt": EPOCH} for key, value in repository("spaces", f"{owner}/{name}").variables.items()}


@app.post("/api/spaces/{owner}/{name}/variables")
async def variables(owner: str, name: str, request: Request) -> dict:
    body = await request.json()
    repository("spaces", f"{owner}/{name}").variables[body["key"]] = body["value"]
    return await list_variables(owner, name)


@app.api_route("/{owner}/{name}/resolve/{rest:path}", methods=["GET", "HEAD"])
async def resolve_model(owner: str, name: str, rest: str, request: Request) -> Response:
    return await resolve("models", owner, name, rest, request)


@app.api_route("/{kind}/{owner}/{name}/resolve/{rest:path}", methods=["GET", "HEAD"])
async def resolve(kind: str, owner: str, name: str, rest: str, request: Request) -> Response:
    repo = repository(kind, f"{owner}/{name}")
    revision, _, path = rest.partition("/")
    commit = repo.find(revision)
    if path not in commit.files:
        raise Missing("EntryNotFound", f"{path} does not exist")
    sha = commit.files[path]
    data = blobs[sha]
    tag = f'"{sha if sha in large else git_sha(data)}"'
    headers = {"X-Repo-Commit": commit.sha, "ETag": tag, "Accept-Ranges": "bytes"}
    if sha in large:
        headers |= {"X-Linked-Etag": tag, "X-Linked-Size": str(len(data))}
    if sha in xet_hashes:
        route = f"{request.base_url}api/{kind}/{owner}/{name}/xet-read-token/{commit.sha}"
        headers |= {"X-Xet-Hash": xet_hashes[sha], "X-Xet-Refresh-Route": route}
    asked_range = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(len(data))})
    if not asked_range:
        return Response(data, headers=headers, media_type="application/octet-stream")
    first, last = asked_range.groups()
    start = int(first) if first else max(len(data) - int(last), 0)
    stop = min(int(last) + 1, len(data)) if first and last else len(data)
    if start >= len(data):
        return Response(status_code=416, headers={"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
    return Response(data[start:stop], 206, headers, "application/octet-stream")


def main() -> None:
    """Listen on a free port of this machine and print the address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, http=hub_faults.Cuttable, log_level="critical")).run(sockets=[listener])


if __name__ == "__main__":
    main()
