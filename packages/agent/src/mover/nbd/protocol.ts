import { Problem, type ProblemKind } from '@virt8ra/contract/plain';

/** Numbers of the NBD protocol (github.com/NetworkBlockDevice/nbd, doc/proto.md). All integers on the wire are big-endian. */

export const greetingMagic = 0x4e42444d41474943n; // "NBDMAGIC"
export const optionMagic = 0x49484156454f5054n; // "IHAVEOPT"
export const optionReplyMagic = 0x3e889045565a9n;
export const requestMagic = 0x25609513;
export const simpleReplyMagic = 0x67446698;
export const structuredReplyMagic = 0x668e33ef;

export const handshakeFlag = { fixedNewstyle: 1, noZeroes: 2 } as const;
export const option = {
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;
export const optionReply = { ack: 1, server: 2, info: 3, metaContext: 4 } as const;
export const infoType = { export: 0, blockSize: 3 } as const;
export const transmissionFlag = { readOnly: 2, sendFlush: 4, sendTrim: 32, sendWriteZeroes: 64, sendFastZero: 2048 } as const;
export const command = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6, blockStatus: 7 } as const;
export const commandFlag = { noHole: 2, fastZero: 16 } as const;
export const replyType = { none: 0, offsetData: 1, offsetHole: 2, blockStatus: 5, errorBit: 0x8000, errorOffset: 0x8002 } as const;
export const replyDone = 1;

const optionErrors: Readonly<Record<number, readonly [ProblemKind, string]>> = {
  1: ['unsupported', 'the server does not know this option'],
  2: ['forbidden', 'the server’s policy forbids it'],
  3: ['internal', 'the server found the option malformed'],
  4: ['unsupported', 'the server’s platform cannot do it'],
  5: ['unauthorized', 'the server demands TLS'],
  6: ['not-found', 'the server has no such export'],
  7: ['unavailable', 'the server is shutting down'],
  8: ['unsupported', 'the server demands block sizes'],
  9: ['too-large', 'the option is too large for the server'],
};

/** The Problem for an error reply to an option. `reply` has its top bit set. */
export function problemFromOption(what: string, reply: number, text: string): Problem {
  const [kind, why] = optionErrors[reply & 0x7fffffff] ?? ['internal', `the server refused with error ${reply & 0x7fffffff}`];
  return new Problem(kind, `NBD: ${what}: ${why}${text === '' ? '' : ` (${text.slice(0, 200)})`}`);
}

const commandErrors: Readonly<Record<number, readonly [ProblemKind, string]>> = {
  1: ['forbidden', 'operation not permitted; the export may be read-only'],
  5: ['internal', 'input/output error'],
  12: ['unavailable', 'the server is out of memory'],
  22: ['internal', 'the server found the request invalid'],
  28: ['exhausted', 'no space left on the device'],
  75: ['internal', 'the request is too large for the server'],
  95: ['unsupported', 'the server cannot do this'],
  108: ['unavailable', 'the server is shutting down'],
};

/** The Problem for an error that answers a command; numbers are the protocol's errno values. */
export function problemFromCommand(what: string, error: number): Problem {
  const [kind, why] = commandErrors[error] ?? ['internal', `error ${error}`];
  return new Problem(kind, `NBD: ${what}: ${why}`, { facts: { nbdError: error } });
}

/** The server broke the protocol, or is no NBD server at all. */
export function brokenProtocol(why: string): Problem {
  return new Problem('internal', `the NBD server does not keep the protocol: ${why}`);
}
