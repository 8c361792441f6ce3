# The runcmd of a flattened #cloud-config -> a shell script. An item is a line of shell, or a list of words that is run as it stands.
BEGIN { FS = "\t" }

function unescape(s,   out, i, c) {
  out = ""
  for (i = 1; i <= length(s); i++) {
    c = substr(s, i, 1)
    if (c == "\\") { i++; c = substr(s, i, 1); if (c == "n") c = "\n"; else if (c == "t") c = "\t" }
    out = out c
  }
  return out
}

function quote(s) { gsub(/'/, "'\\''", s); return "'" s "'" }

{
  n = split($1, p, "/")
  if (p[1] != "runcmd" || n < 2) next
  if (n == 2) { close_list(); print unescape($2); next }
  if (p[2] != item) close_list()
  item = p[2]; words = words (words == "" ? "" : " ") quote(unescape($2))
}

function close_list() { if (words != "") print words; words = "" }

END { close_list() }
