"""A real S3 server on loopback: moto's, over HTTP, in a thread of this process."""

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pyarrow.fs import FileSystem, S3FileSystem

BUCKET = "storage"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@dataclass(frozen=True)
class S3:
    """The server at `endpoint` (HOST:PORT), with one bucket; `environment` is how a user names it."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        return {**KEYS, "AWS_ENDPOINT_URL": f"http://{self.endpoint}"}

    def uri(self, path: str, bucket: str = BUCKET) -> str:
        """A URI that names the server as well."""
        return f"s3://{bucket}/{path}?scheme=http&endpoint_override={self.endpoint}"

    @contextmanager
    def checking_credentials(self) -> Iterator[None]:
        """Refuses everybody meanwhile: it knows no keys."""
        self._checks_after("0")
        try:
            yield
        finally:
            self._checks_after("inf")

    def _checks_after(self, actions: str) -> None:
        httpx.post(f"http://{self.endpoint}/moto-api/reset-auth", content=actions).raise_for_status()

    def fresh(self) -> tuple[FileSystem, Path]:
        """A folder that nobody else uses."""
        return FileSystem.from_uri(self.uri(""))[0], Path(BUCKET) / uuid.uuid4().hex


@contextmanager
def serving() -> Iterator[S3]:
    from moto.server import ThreadedMotoServer  # only tests of S3 need it

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells of every request
    before = {name: os.environ.get(name) for name in KEYS}
    os.environ.update(KEYS)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    s3 = S3(f"{host}:{port}")
    S3FileSystem(endpoint_override=s3.endpoint, scheme="http", allow_bucket_creation=True).create_dir(BUCKET)
    try:
        yield s3
    finally:
        server.stop()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
