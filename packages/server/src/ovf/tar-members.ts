import { Problem, tarBlock } from '@virt8ra/contract';
import type { Octets } from '../artifacts/octets.js';

/** A file in a tar archive, and where its octets lie. */
export interface TarMember {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

const membersMost = 256;
const extensionMost = 64 * 1024;

const refuse = (reason: string): Problem => new Problem('validation', `the archive is refused: ${reason}`);

/**
 * The files of a tar archive (ustar, with the extensions of GNU and POSIX for long names and sizes). An OVA is flat: raises `validation` for directories, links and
 * devices, for names that lead anywhere, for two files of one name, and for an archive that is cut short.
 */
export async function readTarMembers(file: Octets, fileBytes: number): Promise<readonly TarMember[]> {
  const members: TarMember[] = [];
  let told: { name?: string; bytes?: number } = {};
  for (let at = 0; ; ) {
    if (at + tarBlock > fileBytes) {
      if (at === fileBytes && members.length > 0) return members;
      throw refuse('it is cut short, or no tar archive');
    }
    const header = await readAt(file, at, tarBlock);
    if (header.every((octet) => octet === 0)) return members;
    assertChecksum(header);
    const type = String.fromCharCode(header[156] ?? 0);
    const isExtension = type === 'x' || type === 'g' || type === 'L';
    const bytes = isExtension ? numberAt(header, 124, 12) : (told.bytes ?? numberAt(header, 124, 12));
    const start = at + tarBlock;
    const end = start + Math.ceil(bytes / tarBlock) * tarBlock;
    if (start + bytes > fileBytes) throw refuse('its last file is cut short');
    if (isExtension) {
      if (bytes > extensionMost) throw refuse('it has an absurd header');
      const extension = await readAt(file, start, bytes);
      if (type === 'L') told = { ...told, name: extension.toString('utf8').replace(/\0.*$/s, '') };
      else if (type === 'x') told = { ...told, ...recordsOf(extension) };
    } else {
      const prefix = header.toString('latin1', 257, 262) === 'ustar' ? textAt(header, 345, 155) : '';
      const given = told.name ?? (prefix === '' ? textAt(header, 0, 100) : `${prefix}/${textAt(header, 0, 100)}`);
      if (type !== '0' && type !== '\0' && type !== '7') throw refuse(`${shown(given)} is no file but a link, a directory or a device`);
      const name = given.replace(/^(\.\/)+/, '');
      if (!isPlain(name)) throw refuse(`${shown(given)} is a name that leads elsewhere; files of an OVA stand beside each other`);
      if (members.some((member) => member.name === name)) throw refuse(`it has two files called ${shown(name)}`);
      if (members.length >= membersMost) throw refuse(`it has more than ${membersMost} files`);
      members.push({ name, offset: start, bytes });
      told = {};
    }
    at = end;
  }
}

/** Whether a name is of a file right here. */
export function isPlain(name: string): boolean {
  const isPrintable = [...name].every((letter) => letter >= ' ' && letter !== '\u007f');
  return name !== '' && name !== '.' && name !== '..' && name.length <= 255 && !/[/\\]/.test(name) && isPrintable;
}

function shown(name: string): string {
  return JSON.stringify(name.slice(0, 100));
}

function recordsOf(extension: Buffer): { name?: string; bytes?: number } {
  const records: { name?: string; bytes?: number } = {};
  for (const line of extension.toString('utf8').split('\n')) {
    const [, key, value = ''] = /^\d+ ([^=]+)=(.*)$/s.exec(line) ?? [];
    if (key === 'path') records.name = value;
    if (key === 'size' && /^\d{1,15}$/.test(value)) records.bytes = Number(value);
  }
  return records;
}

function assertChecksum(header: Buffer): void {
  let sum = 0;
  for (const [at, octet] of header.entries()) sum += at >= 148 && at < 156 ? 32 : octet;
  if (sum !== numberAt(header, 148, 8)) throw refuse('it is no tar archive, or a damaged one');
}

/** Octal, or binary with the first bit set (GNU). */
function numberAt(header: Buffer, start: number, length: number): number {
  const field = header.subarray(start, start + length);
  if (((field[0] ?? 0) & 0x80) !== 0) {
    const high = field.subarray(1, length - 8);
    const value = field.readBigUInt64BE(length - 8);
    if (field[0] !== 0x80 || high.some((octet) => octet !== 0) || value > BigInt(Number.MAX_SAFE_INTEGER))
      throw refuse('it says an absurd size');
    return Number(value);
  }
  const text = field.toString('latin1').replace(/\0.*$/s, '').trim();
  if (!/^[0-7]{0,12}$/.test(text)) throw refuse('it is no tar archive, or a damaged one');
  return text === '' ? 0 : Number.parseInt(text, 8);
}

function textAt(header: Buffer, start: number, length: number): string {
  return header.toString('utf8', start, start + length).replace(/\0.*$/s, '');
}

async function readAt(file: Octets, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  if (bytesRead < length) throw refuse('it is cut short');
  return buffer;
}
