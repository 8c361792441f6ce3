import { describe, expect, it } from 'vitest';
import { createEventStreamParser, type StreamMessage } from './event-stream.js';

const octets = (text: string) => new TextEncoder().encode(text);
const parse = (text: string) => createEventStreamParser().push(octets(text));

describe('event stream parser', () => {
  it('reads id, event and data, and lets comments and strangers pass', () => {
    expect(parse(': hello\nid: 7\nevent: put\nretry: 10\ndata: {"a":\ndata: 1}\n\n')).toEqual([
      { id: '7', event: 'put', data: '{"a":\n1}' },
    ]);
  });

  it('keeps the id for later messages and takes it from a message without data', () => {
    const parser = createEventStreamParser('3');
    expect(parser.push(octets('data: x\n\nid: 9\n\ndata: y\n\n')).map((message) => message.id)).toEqual(['3', '9']);
    expect(parser.lastId).toBe('9');
  });

  it('does not believe an id before its message is whole', () => {
    const parser = createEventStreamParser('3');
    parser.push(octets('id: 4\ndata: cut off'));
    expect(parser.lastId).toBe('3');
  });

  it('reads the same whatever the line ends and wherever the octets are cut', () => {
    const text = 'id: 1\nevent: put\ndata: grüße 🌍\n\n: beat\n\nid: 2\ndata: b\n\n';
    const expected = parse(text);
    expect(expected).toHaveLength(2);
    for (const end of ['\n', '\r\n', '\r']) {
      const all = octets(text.replaceAll('\n', end));
      for (let first = 0; first <= all.length; first += 1) {
        for (let second = first; second <= all.length; second += 1) {
          const parser = createEventStreamParser();
          const seen: StreamMessage[] = [];
          for (const part of [all.subarray(0, first), all.subarray(first, second), all.subarray(second)]) seen.push(...parser.push(part));
          // A lone CR at the very end might be half of CRLF, so that the last message may wait for one more octet.
          seen.push(...parser.push(octets(':')));
          if (JSON.stringify(seen) !== JSON.stringify(expected)) expect({ end, first, second, seen }).toEqual(expected);
        }
      }
    }
  });
});
