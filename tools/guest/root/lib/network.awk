# A flattened network-config, version 1 or 2 -> one act per line for /lib/network:
#   nic MAC NAME | dhcp | address CIDR | gateway IP | route TO VIA | mtu N | dns IP
# Acts belong to the nic named before them. "-" stands for a MAC or name that is not given.

function bits(mask,   part, i, n, b) {
  if (mask !~ /\./) return mask
  split(mask, part, "."); n = 0
  for (i = 1; i <= 4; i++) for (b = 128; b >= 1 && part[i] >= b; b /= 2) { n++; part[i] -= b }
  return n
}

function add(unit, act) { acts[unit] = acts[unit] act "\n" }

function unit_of(key) { if (!(key in seen)) { seen[key] = 1; order[++units] = key } return key }

BEGIN { FS = "\t" }
{ value = $2; n = split($1, p, "/"); if (p[1] == "network") { for (i = 1; i < n; i++) p[i] = p[i + 1]; n-- } }

# --- version 2
p[1] == "ethernets" && n >= 3 {
  u = unit_of(p[2])
  if (p[3] == "match" && p[4] == "macaddress") mac[u] = tolower(value)
  else if (p[3] == "match" && p[4] == "name") name[u] = value
  else if (p[3] ~ /^dhcp[46]$/ && value ~ /^(true|yes|on)$/) dhcp[u] = 1
  else if (p[3] == "addresses") add(u, "address " value)
  else if (p[3] == "gateway4" || p[3] == "gateway6") add(u, "gateway " value)
  else if (p[3] == "mtu") add(u, "mtu " value)
  else if (p[3] == "nameservers" && p[4] == "addresses") add(u, "dns " value)
  else if (p[3] == "routes") {
    if (p[5] == "to") to[u, p[4]] = value
    if (p[5] == "via") via[u, p[4]] = value
    if (((u, p[4]) in to) && ((u, p[4]) in via)) { add(u, "route " to[u, p[4]] " " via[u, p[4]]); delete via[u, p[4]] }
  }
  if (!(u in name) && !(u in mac)) fallback[u] = p[2]
}

# --- version 1: values come in any order, so that they are kept until the end
p[1] == "config" {
  item = p[2]
  if (!(item in listed)) { listed[item] = 1; items[++many] = item }
  if (n == 3) is[item, p[3]] = value
  else if (p[3] == "subnets") {
    if (p[4] + 1 > nets[item]) nets[item] = p[4] + 1
    if (p[5] == "routes") { if (p[6] + 1 > paths[item, p[4]]) paths[item, p[4]] = p[6] + 1; hop[item, p[4], p[6], p[7]] = value }
    else if (p[5] == "dns_nameservers") dns[item, p[4]] = dns[item, p[4]] " " value
    else net[item, p[4], p[5]] = value
  } else if (p[3] == "address") dns[item] = dns[item] " " value
}

function each_dns(u, list,   all, i, k) { k = split(list, all, " "); for (i = 1; i <= k; i++) add(u, "dns " all[i]) }

function version1(   i, j, r, item, u, to_) {
  for (i = 1; i <= many; i++) {
    item = items[i]
    if (is[item, "type"] == "nameserver") { each_dns(last, dns[item] " " is[item, "address"]); continue }
    if (is[item, "type"] != "physical") continue
    u = last = unit_of("v1-" item); mac[u] = tolower(is[item, "mac_address"]); name[u] = is[item, "name"]
    if (is[item, "mtu"] != "") add(u, "mtu " is[item, "mtu"])
    for (j = 0; j < nets[item]; j++) {
      if (net[item, j, "type"] ~ /^(dhcp|dhcp4)$/) dhcp[u] = 1
      if (net[item, j, "address"] != "")
        add(u, "address " net[item, j, "address"] (net[item, j, "address"] ~ /\// ? "" : "/" (net[item, j, "netmask"] == "" ? 24 : bits(net[item, j, "netmask"]))))
      if (net[item, j, "gateway"] != "") add(u, "gateway " net[item, j, "gateway"])
      each_dns(u, dns[item, j])
      for (r = 0; r < paths[item, j]; r++) {
        to_ = hop[item, j, r, "network"] != "" ? hop[item, j, r, "network"] : hop[item, j, r, "destination"]
        if (to_ !~ /\//) to_ = to_ "/" (hop[item, j, r, "prefix"] != "" ? hop[item, j, r, "prefix"] : bits(hop[item, j, r, "netmask"]))
        add(u, "route " to_ " " hop[item, j, r, "gateway"])
      }
    }
  }
}

END {
  version1()
  for (i = 1; i <= units; i++) {
    u = order[i]
    if (mac[u] == "" && name[u] == "") name[u] = fallback[u]
    print "nic " (mac[u] == "" ? "-" : mac[u]) " " (name[u] == "" ? "-" : name[u])
    if (dhcp[u]) print "dhcp"
    # Addresses before the gateways and routes that need them.
    k = split(acts[u], act, "\n")
    for (j = 1; j <= k; j++) if (act[j] ~ /^(mtu|address) /) print act[j]
    for (j = 1; j <= k; j++) if (act[j] != "" && act[j] !~ /^(mtu|address) /) print act[j]
  }
}
