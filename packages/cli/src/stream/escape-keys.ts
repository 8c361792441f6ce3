/** What the keys of a console mean. */
export interface EscapedKeys {
  /** For the guest. */
  readonly octets: Uint8Array;
  /** Asked of us, in order. */
  readonly asked: readonly ('end' | 'help')[];
}

const tilde = 0x7e;
const returns = [0x0a, 0x0d];
const meanings: Readonly<Record<number, 'end' | 'help'>> = { 46: 'end', 63: 'help' };

/** As ssh does: `~` at the beginning of a line makes the next key ours; `~~` is one for the guest. */
export function createEscapeKeys(): (keys: Uint8Array) => EscapedKeys {
  let atBeginning = true;
  let held = false;
  return (keys) => {
    const octets: number[] = [];
    const asked: ('end' | 'help')[] = [];
    for (const key of keys) {
      if (held) {
        held = false;
        const meaning = meanings[key];
        if (meaning !== undefined) {
          asked.push(meaning);
          atBeginning = true;
          continue;
        }
        octets.push(tilde);
        if (key === tilde) {
          atBeginning = false;
          continue;
        }
      } else if (atBeginning && key === tilde) {
        held = true;
        continue;
      }
      octets.push(key);
      atBeginning = returns.includes(key);
    }
    return { octets: Uint8Array.from(octets), asked };
  };
}
