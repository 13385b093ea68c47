"""Prints the path of a development cluster's kubeconfig, and runs the cluster until stdin is closed.

Usage: `python cluster.py FOLDER`.
"""

import asyncio
import sys
from pathlib import Path

from paperclip_claude_k8s.devcluster import DevCluster


async def main(folder: Path) -> None:
    async with DevCluster.start(folder=folder) as cluster:
        print(cluster.kubeconfig, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
