"""Logs in, uses the token, verifies it as a service does, and releases it. Needs Python 3.9 and nothing else."""

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request

URL = os.environ["DOORWARD_URL"]
TIMEOUT = 5  # seconds


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the credential elsewhere."""

    def redirect_request(self, *_):
        return None


http = urllib.request.build_opener(NoRedirects)


def ask(path, body=None, content_type="application/json", authorization=None):
    """Returns the status and the JSON of an answer. What is no answer of Doorward's is an exception: an outage says
    nothing about a token."""
    request = urllib.request.Request(URL + path, data=body, headers={"Content-Type": content_type})
    if authorization:
        request.add_header("Authorization", authorization)
    try:
        with http.open(request, timeout=TIMEOUT) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        if error.code >= 500 or error.code == 429:
            raise
        return error.code, json.load(error)


def log_in(organisation, username, password):
    body = {"organisation": organisation, "username": username, "password": password}
    _, answer = ask("/authentication/token", json.dumps(body).encode())
    if answer["status"]["code"] != "OK":
        raise PermissionError(answer["status"]["code"] + ": " + answer["status"]["message"])
    return answer["data"]["token"]


def verify(token, key):
    """Whom the token speaks for; None if it is not in force. Ask for each request: a cache lets released tokens live."""
    basic = "Basic " + base64.b64encode((key + ":").encode()).decode()
    form = urllib.parse.urlencode({"token": token}).encode()
    status, answer = ask("/oauth2/introspect", form, "application/x-www-form-urlencoded", basic)
    if status != 200:
        raise PermissionError(answer["error"] + ": " + answer["error_description"])
    return answer if answer["active"] else None


def release(token):
    status, _ = ask("/authentication/token/release", json.dumps({"token": token}).encode())
    if status != 200:
        raise RuntimeError("the token may still be in force")


if __name__ == "__main__":
    token = log_in(
        os.environ["DOORWARD_ORGANISATION"], os.environ["DOORWARD_USERNAME"], os.environ["DOORWARD_PASSWORD"]
    )
    key = os.environ["DOORWARD_KEY"]
    try:
        # Any guarded API takes the token in this header; Doorward's own tells whose it is.
        status, _ = ask("/authentication/token", authorization="Bearer " + token)
        print("used:", status)
        identity = verify(token, key)
        if identity:
            print("active:", identity["username"], "of", identity["organisation"])
    finally:
        release(token)
    if verify(token, key) is None:
        print("released")
