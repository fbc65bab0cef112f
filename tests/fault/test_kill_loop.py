"""fctest: timeout=300
A few rounds of tests/fault/kill_loop.py: runs killed at random moments end with the losses of a run that was left alone.
"""
import os
import re
import subprocess
import sys

loop = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kill_loop.py")
done = subprocess.run([sys.executable, loop, "4", "7"], check=False, stdout=subprocess.PIPE, text=True)
print(done.stdout)
kills = re.search(r"killed (\d+) times", done.stdout)
if kills:
    print("row: | fault.kill_loop | SIGKILL at %s random moments, to a rank, all ranks or mpirun, until each of 4 runs has ended | 137 | - | - "
          "| nothing |" % kills.group(1))
sys.exit(done.returncode)
