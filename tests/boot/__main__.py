"""python -m tests.boot: the disks of the machines are made, once, so that it is seen."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from lvs_nat.errors import NotInstalled
from lvs_nat.lab.image import Init, image

with ThreadPoolExecutor() as pool:
    try:
        list(pool.map(lambda init: image(init, os.environ), Init))
    except NotInstalled as error:
        sys.exit(str(error))
