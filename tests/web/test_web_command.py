"""efficientps-d2 web as a user calls it; test_web.py looks at the page."""

import os
import signal
import subprocess
import sys
import urllib.request

from project import run_verb

import efficientps_d2.web.server as web


def test_mistakes_are_one_sentence(model_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def sentence(*arguments) -> str:
        assert run_verb("web", "--port", 0, *arguments) == 1
        output = capsys.readouterr()
        assert output.out == "" and output.err.count("\n") == 1
        return output.err

    assert "output/streets/model does not exist; run make demo" in sentence()
    assert "nowhere does not exist; give the folder" in sentence("--model", "nowhere")
    device = ("--device", "nonsense", "--model", str(model_folder))
    assert 'The device "nonsense" cannot be used' in sentence(*device)
    with web.listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert f"--port {port} cannot be used (Address already in use)" in sentence("--port", port)
    assert "--port 70000 cannot be used" in sentence("--port", "70000")
    assert "--host no.such.host.invalid" in sentence("--host", "no.such.host.invalid")
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert 'pip install "efficientps-d2[web]"' in sentence()


def test_the_command_serves_a_saved_model_until_ctrl_c(model_folder, tmp_path):
    command = [sys.executable, "-m", "efficientps_d2.web", "--port", "0", "--device", "cpu"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    command += ["--model", str(model_folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env) as process:
        assert process.stdout.readline().startswith(
            f"Model: {model_folder}/model.safetensors, EfficientPS"
        )
        address = process.stdout.readline().split()[0]
        with urllib.request.urlopen(address) as answer:
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output == "" and "Traceback" not in errors
    assert not list(tmp_path.glob("tmp*")), "uploads are removed"


def test_other_computers_are_let_in_with_a_password_that_is_printed(model_folder, monkeypatch):
    lines = []
    monkeypatch.setattr("builtins.print", lambda text, **_: lines.append(text))
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    for host in ("127.0.0.1", "0.0.0.0"):
        assert run_verb("web", "--port", 0, "--host", host, "--model", model_folder) == 0
    assert len(lines) == 5 and "with any name and the password" in lines[-1]
    assert len(lines[-1].rpartition(" ")[2]) == 12
