import { Problem } from './problem.js';

/** As UTF-8; `TextEncoder` is of some platforms only. */
function octetsOf(text: string): Uint8Array {
  const bytes = encodeURIComponent(text).replaceAll(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Uint8Array.from(bytes, (character) => character.charCodeAt(0));
}

/** Archives consist of blocks of so many bytes. */
export const tarBlock = 512;
const longestName = 100;

/**
 * The header of a regular file in an archive, as ustar (POSIX.1-1988); GNU's binary form for sizes beyond eight gigabytes. Raises Problem invalid-request for a
 * name of more than 100 bytes.
 */
export function tarHeader(name: string, bytes: number): Uint8Array {
  const header = new Uint8Array(tarBlock);
  const write = (text: string, at: number): void => header.set(octetsOf(text), at);
  if (octetsOf(name).length > longestName)
    throw new Problem('invalid-request', `the name ${name} is too long for an archive; ${longestName} bytes are possible`);
  write(name, 0);
  write('0000644\0', 100);
  write('0000000\0', 108);
  write('0000000\0', 116);
  if (bytes < 8 ** 11) write(`${bytes.toString(8).padStart(11, '0')}\0`, 124);
  else {
    header[124] = 0x80;
    new DataView(header.buffer).setBigUint64(128, BigInt(bytes));
  }
  write('00000000000\0', 136);
  write('        ', 148);
  write('0', 156);
  write('ustar\0', 257);
  write('00', 263);
  const sum = header.reduce((total, octet) => total + octet, 0);
  write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}
