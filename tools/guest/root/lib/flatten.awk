# YAML (the subset that seeds are written in: block and flow collections, quotes, comments, literal blocks; JSON is one of its cases)
# -> one line per scalar: path TAB value, path parts joined by "/", list items numbered from 0. In values \ and newline are escaped
# as printf %b reads them. Anchors, tags, folded blocks with blank lines and several documents are not read.

function emit(path, value) {
  gsub(/\\/, "\\\\", value); gsub(/\n/, "\\n", value); gsub(/\t/, "\\t", value)
  print path "\t" value
}

function join(path, key) { return path == "" ? key : path "/" key }

function skip_blank() { while (position <= length(text) && substr(text, position, 1) ~ /[ \t\n\r]/) position++ }

# Reads a quoted string at `position` of `text`, which is its opening quote.
function quoted(   quote, out, c) {
  quote = substr(text, position, 1); position++; out = ""
  while (position <= length(text)) {
    c = substr(text, position, 1); position++
    if (c == quote) {
      if (quote == "'" && substr(text, position, 1) == "'") { out = out "'"; position++; continue }
      return out
    }
    if (c == "\\" && quote == "\"") {
      c = substr(text, position, 1); position++
      if (c == "n") c = "\n"; else if (c == "t") c = "\t"; else if (c == "r") c = "\r"
      else if (c == "u") { c = "?"; position += 4 }
    }
    out = out c
  }
  return out
}

function trim(s) { gsub(/^[ \t\r\n]+|[ \t\r\n]+$/, "", s); return s }

# A flow value at `position`: collection, quoted or plain scalar.
function flow(path,   c, key, index_, start) {
  skip_blank(); c = substr(text, position, 1)
  if (c == "{") {
    position++
    while (1) {
      skip_blank(); c = substr(text, position, 1)
      if (c == "" || c == "}") { position++; return }
      if (c == ",") { position++; continue }
      if (c == "\"" || c == "'") { key = quoted(); skip_blank() }
      else { start = position; while (position <= length(text) && substr(text, position, 1) !~ /[:,}]/) position++; key = trim(substr(text, start, position - start)) }
      skip_blank()
      if (substr(text, position, 1) == ":") { position++; flow(join(path, key)) }
    }
  }
  if (c == "[") {
    position++; index_ = 0
    while (1) {
      skip_blank(); c = substr(text, position, 1)
      if (c == "" || c == "]") { position++; return }
      if (c == ",") { position++; continue }
      flow(join(path, index_++))
    }
  }
  if (c == "\"" || c == "'") { emit(path, quoted()); return }
  start = position
  while (position <= length(text) && substr(text, position, 1) !~ /[],}\n]/) position++
  if (position == start) { position++; return }
  key = trim(substr(text, start, position - start))
  if (key != "null" && key != "~") emit(path, key)
}

# A scalar or flow collection that stands on one line.
function value_of(path, s) {
  s = trim(s)
  if (s ~ /^["'{\[]/) { text = s; position = 1; flow(path); return }
  sub(/[ \t]+#.*$/, "", s)
  if (s != "" && s != "null" && s != "~") emit(path, s)
}

function indent_of(s) { match(s, /^ */); return RLENGTH }

# The literal (or folded) block that follows line `at`, whose owner is indented by `owner`; answers the last line read.
function literal(path, at, owner, folded,   base, out) {
  base = -1; out = ""
  while (at < count && (line[at + 1] ~ /^[ \t]*$/ || indent_of(line[at + 1]) > owner)) {
    at++
    if (base < 0 && line[at] !~ /^[ \t]*$/) base = indent_of(line[at])
    out = out substr(line[at], base + 1) (folded ? " " : "\n")
  }
  sub(/[ \n]+$/, "", out); emit(path, out)
  return at
}

# Length of the key of "key: value", quotes included; 0 when the line is no such pair.
function key_length(s) {
  if (match(s, /^"[^"]*"[ ]*:([ \t]|$)/) || match(s, /^'[^']*'[ ]*:([ \t]|$)/) || match(s, /^[^"'#{\[ ][^#]*:([ \t]|$)/)) {
    if (s !~ /^["']/) { match(s, /:([ \t]|$)/); return RSTART - 1 }
    match(s, /["'][ ]*:([ \t]|$)/); return RSTART
  }
  return 0
}

# Walks the lines with a stack of open collections: their indent, their path, and for lists the next number.
function walk(   at, s, indent, path, n, key, rest) {
  depth = 0
  for (at = 1; at <= count; at++) {
    s = line[at]
    if (s ~ /^[ \t]*(#.*)?$/ || s ~ /^(---|\.\.\.)/ || s ~ /^%/) continue
    indent = indent_of(s); s = substr(s, indent + 1)
    while (1) {
      # A list may stand at its owner's own indent; a map may not.
      while (depth > 0 && (opened[depth] > indent || (opened[depth] == indent && listed[depth] && s !~ /^-([ \t]|$)/))) depth--
      if (s ~ /^-([ \t]|$)/) {
        if (depth == 0 || opened[depth] < indent || !listed[depth]) {
          path = pending; depth++; opened[depth] = indent; listed[depth] = 1; next_[depth] = 0; at_path[depth] = path
        }
        pending = join(at_path[depth], next_[depth]++)
        match(s, /^-[ \t]*/); indent += RLENGTH; s = substr(s, RLENGTH + 1)
        if (s == "" || s ~ /^#/) break
        if (s ~ /^[|>]/) { at = literal(pending, at, opened[depth], s ~ /^>/); break }
        if (s !~ /^-([ \t]|$)/ && !key_length(s)) { value_of(pending, s); break }
        continue
      }
      n = key_length(s)
      if (!n) { value_of(pending, s); break }
      if (depth == 0 || opened[depth] < indent || listed[depth]) {
        path = depth == 0 ? "" : pending; depth++; opened[depth] = indent; listed[depth] = 0; at_path[depth] = path
      }
      key = trim(substr(s, 1, n)); gsub(/^["']|["']$/, "", key)
      rest = substr(s, n + 1); sub(/^[ ]*:[ \t]*/, "", rest)
      pending = join(at_path[depth], key)
      if (rest ~ /^[|>]/) at = literal(pending, at, indent, rest ~ /^>/)
      else if (rest != "" && rest !~ /^#/) value_of(pending, rest)
      break
    }
  }
}

{ sub(/\r$/, ""); line[++count] = $0 }

END {
  for (first = 1; first <= count && line[first] ~ /^[ \t]*(#.*|---[ \t]*)?$/; first++);
  if (line[first] ~ /^[ \t]*[{\[]/) {
    for (; first <= count; first++) text = text line[first] "\n"
    position = 1; flow("")
  } else walk()
}
