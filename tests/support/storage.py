"""Buckets for tests: fsspec's memory, and a local server that speaks S3."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from unittest import mock

from videogen_jax.paths import as_path


def memory_url() -> str:
    """Returns the URL of a new folder in this process's memory."""
    return f"memory://bucket-{uuid.uuid4().hex}"


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Runs moto's server and yields the URL of a new bucket there; the environment names both.

    So processes that are started within the block use it too.
    """
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    name = f"bucket-{uuid.uuid4().hex}"
    with mock.patch.dict(os.environ, environment):
        as_path("s3://x").fs.clear_instance_cache()  # a client keeps its credentials
        boto3.client("s3").create_bucket(Bucket=name)
        yield f"s3://{name}"
        as_path(f"s3://{name}").fs.clear_instance_cache()
    server.stop()
