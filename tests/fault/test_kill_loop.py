"""fctest: timeout=300
A few rounds of tests/fault/kill_loop.py: runs killed at random moments end with the losses of a run that was left alone.
"""
import os
import subprocess
import sys

loop = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kill_loop.py")
sys.exit(subprocess.run([sys.executable, loop, "4", "7"], check=False).returncode)
