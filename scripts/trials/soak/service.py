"""The service behind the server: the demo's endpoints, in a process of their own."""

import asyncio

from jobstore.demo import create_app
from trials.services import serve

if __name__ == "__main__":
    asyncio.run(serve(create_app()))
