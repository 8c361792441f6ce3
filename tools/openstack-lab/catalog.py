"""Fills Keystone of the lab, waits for its agents, or makes an account. Needs nothing but Python.

catalog.py [--await | --account] AUTH_URL PASSWORD REGION
"""

import json
import sys
import time
import urllib.error
import urllib.request

words = [word for word in sys.argv[1:] if not word.startswith("--")]
url, password, region = words
here = url.split("//")[1].split(":")[0]
services = {
    "glance": ("image", f"http://{here}:9292"),
    "placement": ("placement", f"http://{here}:8778"),
    "nova": ("compute", f"http://{here}:8774/v2.1"),
    "neutron": ("network", f"http://{here}:9696"),
}


def ask(method, where, body=None, token=None):
    headers = {"content-type": "application/json", "accept": "application/json"}
    if token:
        headers["x-auth-token"] = token
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(where, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
        return (json.loads(text) if text else {}), answer.headers


def token_of(user, secret, project):
    identity = {"methods": ["password"], "password": {"user": {"name": user, "domain": {"id": "default"}, "password": secret}}}
    scope = {"project": {"name": project, "domain": {"id": "default"}}}
    body, headers = ask("POST", f"{url}/auth/tokens", {"auth": {"identity": identity, "scope": scope}})
    return headers["x-subject-token"], body["token"]


admin, _ = token_of("admin", password, "admin")


def ensure(collection, one, name, query="", **fields):
    found = ask("GET", f"{url}/{collection}?name={name}{query}", token=admin)[0][collection]
    if found:
        return found[0]["id"]
    return ask("POST", f"{url}/{collection}", {one: {"name": name, **fields}}, admin)[0][one]["id"]


def grant(project, user, role):
    ask("PUT", f"{url}/projects/{project}/users/{user}/roles/{role}", token=admin)


def fill():
    project = ensure("projects", "project", "service", domain_id="default")
    roles = [ensure("roles", "role", name) for name in ("admin", "service")]
    for name, (kind, endpoint) in services.items():
        user = ensure("users", "user", name, domain_id="default", password=password)
        for role in roles:
            grant(project, user, role)
        service = ensure("services", "service", name, type=kind)
        for interface in ("public", "internal", "admin"):
            where = f"{url}/endpoints?service_id={service}&interface={interface}"
            if not ask("GET", where, token=admin)[0]["endpoints"]:
                ask("POST", f"{url}/endpoints", {"endpoint": {"service_id": service, "interface": interface, "region_id": region, "url": endpoint}}, admin)


def await_agents():
    deadline = time.monotonic() + 240
    while True:
        try:
            compute = ask("GET", f"{services['nova'][1]}/os-services?binary=nova-compute", token=admin)[0]["services"]
            agents = ask("GET", f"{services['neutron'][1]}/v2.0/agents", token=admin)[0]["agents"]
            if any(each["state"] == "up" for each in compute) and any(each["alive"] for each in agents):
                return
        except (urllib.error.URLError, OSError):
            pass
        if time.monotonic() > deadline:
            sys.exit("the agents did not come up")
        time.sleep(0.5)


def account():
    project = ensure("projects", "project", "customer", domain_id="default")
    user = ensure("users", "user", "customer", domain_id="default", password=password)
    grant(project, user, ensure("roles", "role", "member"))
    grant(project, user, ensure("roles", "role", "reader"))
    flavors = ask("GET", f"{services['nova'][1]}/flavors", token=admin)[0]["flavors"]
    if not flavors:
        for name, vcpus, ram, disk in (("tiny", 1, 192, 1), ("small", 1, 512, 2), ("medium", 2, 2048, 10)):
            ask("POST", f"{services['nova'][1]}/flavors", {"flavor": {"name": name, "vcpus": vcpus, "ram": ram, "disk": disk}}, admin)
    token, who = token_of("customer", password, "customer")
    where = f"{url}/users/{user}/application_credentials"
    for old in ask("GET", where, token=token)[0]["application_credentials"]:
        ask("DELETE", f"{where}/{old['id']}", token=token)
    made = ask("POST", where, {"application_credential": {"name": "virt8ra"}}, token)[0]["application_credential"]
    print(
        json.dumps(
            {
                "authUrl": url,
                "region": region,
                "application": {"applicationCredentialId": made["id"], "applicationCredentialSecret": made["secret"]},
                "password": {"userName": "customer", "password": password, "projectName": "customer"},
            }
        )
    )


if "--await" in sys.argv:
    await_agents()
elif "--account" in sys.argv:
    account()
else:
    fill()
