#!/usr/bin/env python3
"""Holds every documented operation of a server to its contract, with schemathesis.

    ADMIN_USERNAME=… ADMIN_PASS=… tests/contract.py URL [PART-OF-A-PATH]

Each operation of URL/api-docs/openapi.json gets generated requests, valid ones and broken ones, of the
administrator; fewer of a member, of a guest and of nobody; and some with a token that is not one. Two in
three name things that exist: every operation has a channel, a group, messages, a user, a role and an
integration of its own. No answer may be a server error, have a status or a content type that is not
documented, differ from its schema, or let the invalid token in. The requests follow from the document alone,
so the same document gets the same requests.

An operation that would end the administrator's own session or rights is left out with that token only,
by the list below, and gets the token of a user who can be spared instead.
"""

import collections
import os
import secrets
import sys
import time

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

# Valid and broken requests of each caller. An invalid token is refused before anything else is looked at; a
# few requests tell.
CALLERS = {"admin": (10, 5), "member": (3, 1), "guest": (2, 1), "nobody": (2, 1), "an invalid token": (4, 0)}
PATIENCE = 20  # seconds for one answer

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

SPARED = {
    "GET /api/v1/logout": "ends the session",
    "POST /api/v1/logout": "ends the session",
    "POST /api/v1/users.logout": "ends the caller's sessions where it names nobody",
    "POST /api/v1/users.logoutOtherClients": "ends sessions",
    "POST /api/v1/users.removeOtherTokens": "ends sessions",
    "POST /api/v1/users.updateOwnBasicInfo": "may change the password or the name",
    "POST /api/v1/users.deleteOwnAccount": "deletes the account",
    "POST /api/v1/users.deactivateIdle": "may deactivate the account",
    "POST /api/v1/permissions.update": "may take the administrator's permissions away",
}


class Server:
    """The server under test, as the administrator sees it."""

    def __init__(self, url, username, password):
        self.url = url
        self.http = requests.Session()
        self.username = username
        self.admin = self.log_in(username, password)

    def log_in(self, username, password):
        answer = requests.post(
            f"{self.url}/api/v1/login", json={"user": username, "password": password}, timeout=PATIENCE
        )
        answer.raise_for_status()
        data = answer.json()["data"]
        return {"X-Auth-Token": data["authToken"], "X-User-Id": data["userId"]}

    def make(self, operation, **body):
        answer = requests.post(f"{self.url}/api/v1/{operation}", json=body, headers=self.admin, timeout=PATIENCE)
        if not answer.ok:
            sys.exit(f"{operation} {body} was refused: {answer.status_code} {answer.text}")
        return answer.json()


class Spare:
    """A user that nobody misses."""

    def __init__(self, server, role="user"):
        self.server = server
        self.role = role
        self.renew()

    def renew(self):
        self.name = f"spare{secrets.token_hex(6)}"
        self.password = secrets.token_hex(12)
        self.id = self.server.make(
            "users.create",
            username=self.name, name=self.name, email=f"{self.name}@example.org",
            password=self.password, verified=True, roles=[self.role],
        )["user"]["_id"]

    def session(self):
        """A fresh session; of a new user when the last one can't log in any more."""
        try:
            return self.server.log_in(self.name, self.password)
        except requests.HTTPError:
            self.renew()
            return self.server.log_in(self.name, self.password)


class Things:
    """What an operation finds to work on, by the names that parameters give it."""

    def __init__(self, server, path):
        tag = secrets.token_hex(6)
        spare = Spare(server)
        channel = server.make("channels.create", name=f"channel{tag}", members=[spare.name])["channel"]
        group = server.make("groups.create", name=f"group{tag}", members=[spare.name])["group"]
        direct = server.make("im.create", username=spare.name)["room"]
        messages = []
        for room in (channel["_id"], group["_id"], direct["_id"]):
            sent = server.make("chat.sendMessage", message={"rid": room, "msg": f"hello @{spare.name} {tag}"})
            messages.append(sent["message"]["_id"])
        kind = path.rsplit("/", 1)[-1].split(".")[0]
        here = {"groups": 1, "im": 2, "dm": 2}.get(kind, 0)
        rooms = [channel["_id"], group["_id"], direct["_id"]]
        self.spare = spare
        self.by_name = {
            "userId": spare.id, "username": spare.name, "user": spare.name,
            "roomId": rooms[here], "rid": rooms[here], "prid": rooms[here],
            "roomName": group["name"] if here == 1 else channel["name"], "channel": f"#{channel['name']}",
            "msgId": messages[here], "messageId": messages[here], "mid": messages[here], "tmid": messages[here],
            "thread_id": messages[here], "_id": "Site_Name" if "settings" in path else rooms[here],
            "type": None,
        }
        if "role" in path:
            role = server.make("roles.create", name=f"role{tag}")["role"]
            self.by_name.update(role=role["_id"], roleId=role["_id"], roleName=role["name"])
        if "integration" in path or "hooks" in path or "deliver" in path:
            made = server.make(
                "integrations.create", type="webhook-incoming", name=f"hook{tag}", enabled=True,
                username=server.username, channel=f"#{channel['name']}", scriptEnabled=False,
            )["integration"]
            self.by_name.update(integrationId=made["_id"], id=made["_id"], integration=made["_id"], token=made["token"])
        del self.by_name["type"]

    def put_into(self, value):
        """The same value with what exists in place of what was made up."""
        if not isinstance(value, dict):
            return value
        return {name: self.by_name.get(name, self.put_into(inner)) for name, inner in value.items()}


class Findings:
    """What was asked and what was wrong with the answers."""

    def __init__(self):
        self.requests = 0
        self.statuses = collections.Counter()
        self.failures = {}
        self.counts = collections.Counter()

    def answered(self, status):
        self.requests += 1
        self.statuses[status] += 1

    def failed(self, operation, kind, detail):
        self.counts[kind] += 1
        self.failures.setdefault((operation, kind, detail.splitlines()[0]), detail)


def is_secured(operation):
    security = operation.definition.raw.get("security", operation.schema.raw_schema.get("security", []))
    return bool(security) and all(security)


def streams(operation):
    """Whether an answer may go on for ever."""
    answers = operation.definition.raw.get("responses", {}).values()
    return any("text/event-stream" in answer.get("content", {}) for answer in answers)


def kind_of(failure):
    name = type(failure).__name__
    return {"ServerError": "server error", "UndefinedStatusCode": "undocumented status"}.get(name, name)


def ask(case, label, server, headers, secured, logged_in, findings):
    """Sends one request, and checks what comes back."""
    operation = case.operation
    try:
        if streams(operation):
            # The head of an endless answer is looked at, and its first bytes.
            arguments = case.as_transport_kwargs(base_url=server.url, headers=headers)
            with requests.request(**arguments, stream=True, timeout=PATIENCE) as response:
                status, text = response.status_code, ""
                if "text/event-stream" not in response.headers.get("Content-Type", ""):
                    text = response.text
            documented = operation.definition.raw["responses"]
            if str(status) not in documented:
                findings.failed(label, "undocumented status", f"{status}\n{text[:400]}")
            if status >= 500:
                findings.failed(label, "server error", f"{status}\n{text[:400]}")
        else:
            response = case.call(base_url=server.url, headers=headers, timeout=PATIENCE)
            status = response.status_code
            case.validate_response(response, checks=CHECKS, headers=headers)
        findings.answered(status)
        if secured and not logged_in and status < 400:
            findings.failed(label, "let in without a login", f"{status}")
    except FailureGroup as group:
        findings.answered(status)
        for failure in group.exceptions:
            findings.failed(label, kind_of(failure), describe(failure, response, case, headers, server))
    except Failure as failure:
        findings.answered(status)
        findings.failed(label, kind_of(failure), describe(failure, response, case, headers, server))
    except requests.RequestException as failure:
        findings.answered(0)
        findings.failed(label, "server error", f"no answer: {failure}\n{case.as_curl_command(headers=headers)}")
    except Exception as error:  # an answer that can't be checked; told here, it ends one request only
        findings.failed(label, "not checked", f"{type(error).__name__}: {error}")


def describe(failure, response, case, headers, server):
    asked = case.as_curl_command(headers=headers)
    return f"{failure.title}: {failure.message}\n{response.status_code} {response.text[:400]}\n{asked}"


def probe(operation, label, server, things, headers, caller, findings):
    """Sends the generated requests of one operation; `headers` makes those that say who asks."""
    secured = is_secured(operation)
    logged_in = caller in ("admin", "member", "guest")
    valid_examples, broken_examples = CALLERS[caller]

    def with_examples(mode, examples):
        @settings(
            max_examples=examples, derandomize=True, database=None, deadline=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), known=strategies.integers(0, 2))
        def requests_of(case, known):
            if known:
                case.path_parameters = things.put_into(case.path_parameters)
                case.query = things.put_into(case.query)
                case.body = things.put_into(case.body)
            ask(case, label, server, headers(), secured, logged_in, findings)

        requests_of()

    with_examples(GenerationMode.POSITIVE, valid_examples)
    takes_something = operation.body or operation.query or operation.path_parameters
    if broken_examples and takes_something:
        try:
            with_examples(GenerationMode.NEGATIVE, broken_examples)
        except Unsatisfiable:
            pass  # nothing that its parameters would refuse can be made


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    url, part = sys.argv[1].rstrip("/"), sys.argv[2] if len(sys.argv) == 3 else ""
    started = time.monotonic()
    server = Server(url, os.environ["ADMIN_USERNAME"], os.environ["ADMIN_PASS"])
    config = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
    document = schemathesis.openapi.from_url(f"{url}/api-docs/openapi.json", config=config)
    operations = [found.ok() for found in document.get_all_operations()]
    operations = [operation for operation in operations if part in operation.path]
    labels = {f"{operation.method.upper()} {operation.path}" for operation in operations}
    findings = Findings()
    invalid = {"X-Auth-Token": "A" * 43, "X-User-Id": server.admin["X-User-Id"]}
    others = {"member": Spare(server), "guest": Spare(server, "guest")}

    for label, reason in SPARED.items():
        if label in labels:
            print(f"with the token of a user who can be spared: {label} ({reason})")

    def hold(operation, caller):
        label = f"{operation.method.upper()} {operation.path}"
        things = Things(server, operation.path)
        if caller == "an invalid token":
            headers = lambda: invalid  # noqa: E731
        elif caller == "nobody":
            headers = dict
        elif caller != "admin":
            headers = others[caller].session
        elif label in SPARED:
            headers = things.spare.session
        else:
            headers = lambda: server.admin  # noqa: E731
        try:
            probe(operation, label, server, things, headers, caller, findings)
        except Exception as error:  # a generator that fails is a fault of the document
            findings.failed(label, "no requests", f"{type(error).__name__}: {error}")

    # One after the other: generators in two threads trip over Python's recursion limit.
    for caller in CALLERS:
        for operation in operations:
            hold(operation, caller)
        print(f"{caller}: {findings.requests} requests so far, {time.monotonic() - started:.0f} s", flush=True)

    if requests.get(f"{url}/api/v1/me", headers=server.admin, timeout=PATIENCE).status_code != 200:
        findings.failed("the administrator", "locked out", "a request ended the session; it belongs on the list")
    for (operation, kind, _), detail in sorted(findings.failures.items()):
        print(f"\n{operation}: {kind}\n  " + "\n  ".join(detail.splitlines()))
    answered = ", ".join(f"{count} × {status}" for status, count in sorted(findings.statuses.items()))
    others = sum(findings.counts.values()) - findings.counts["server error"] - findings.counts["undocumented status"]
    print(f"\nanswers: {answered}")
    print(
        f"{len(operations)} operations, {findings.requests} requests, "
        f"{findings.counts['server error']} server errors, "
        f"{findings.counts['undocumented status']} undocumented statuses, {others} other breaches"
    )
    sys.exit(1 if findings.failures or not operations else 0)


if __name__ == "__main__":
    main()
