/** Where a text stops being JSON (RFC 8259): offset, line and column (from 1). For messages only; JSON.parse decides. */
export interface JsonFault {
  readonly offset: number;
  readonly line: number;
  readonly column: number;
}

const scalarPattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null/y;
const escapePattern = /\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})/y;

type Expected = 'value' | 'value-or-end' | 'key' | 'key-or-end' | 'colon' | 'comma-or-end' | 'nothing';

/** The first place where no JSON text could go on so; undefined when the text is JSON. Without recursion, for any nesting. */
export function jsonFault(text: string): JsonFault | undefined {
  const open: ('{' | '[')[] = [];
  let expected: Expected = 'value';
  let offset = 0;
  const after = (): Expected => (open.length === 0 ? 'nothing' : 'comma-or-end');
  for (;;) {
    while (' \t\n\r'.includes(text[offset] ?? 'x')) offset += 1;
    const sign = text[offset];
    if (sign === undefined) return expected === 'nothing' ? undefined : faultAt(text, offset);
    const isSign = '{}[],:'.includes(sign);
    const end = isSign ? offset + 1 : endOfToken(offset, sign);
    const next = end === undefined ? undefined : step(isSign ? sign : undefined, sign === '"', !isSign && sign !== '"');
    if (next === undefined || end === undefined) return faultAt(text, offset);
    expected = next;
    offset = end;
  }

  /** Undefined when no text or scalar begins here; then `offset` is moved to what is wrong inside. */
  function endOfToken(start: number, first: string): number | undefined {
    if (first !== '"') {
      scalarPattern.lastIndex = start;
      return scalarPattern.test(text) ? scalarPattern.lastIndex : undefined;
    }
    for (let at = start + 1; at < text.length; ) {
      const letter = text[at] ?? '';
      if (letter === '"') return at + 1;
      escapePattern.lastIndex = at;
      const escaped = letter === '\\' && escapePattern.test(text);
      if (letter < ' ' || (letter === '\\' && !escaped)) {
        offset = at;
        return undefined;
      }
      at = escaped ? escapePattern.lastIndex : at + 1;
    }
    offset = text.length;
    return undefined;
  }

  function step(sign: string | undefined, isString: boolean, isScalar: boolean): Expected | undefined {
    const container = open.at(-1);
    switch (expected) {
      case 'value':
      case 'value-or-end':
        if (isString || isScalar) return after();
        if (sign === '{' || sign === '[') {
          open.push(sign);
          return sign === '{' ? 'key-or-end' : 'value-or-end';
        }
        if (expected === 'value-or-end' && sign === ']') return close();
        return undefined;
      case 'key':
      case 'key-or-end':
        if (isString) return 'colon';
        return expected === 'key-or-end' && sign === '}' ? close() : undefined;
      case 'colon':
        return sign === ':' ? 'value' : undefined;
      case 'comma-or-end':
        if (sign === ',') return container === '{' ? 'key' : 'value';
        return sign === (container === '{' ? '}' : ']') ? close() : undefined;
      case 'nothing':
        return undefined;
    }
  }

  function close(): Expected {
    open.pop();
    return after();
  }
}

function faultAt(text: string, offset: number): JsonFault {
  const before = text.slice(0, offset);
  const lastBreak = before.lastIndexOf('\n');
  return { offset, line: before.split('\n').length, column: offset - lastBreak };
}
