import type { FileHandle } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { Problem, ReleaseVersion } from '@virt8ra/contract';
import { Check } from 'typebox/value';
import type { ReleaseArtifact } from './artifact.js';

/** Its description stands among the first files. */
const lookedThrough = 1024 * 1024;
const block = 512;

/**
 * What a tarball says that it is: `RELEASE.json` at its top, as `npm run package` writes it. Reads no more than the beginning. Raises `validation` when it is no release
 * of the agent.
 */
export async function inspectRelease(file: FileHandle): Promise<Omit<ReleaseArtifact, 'sha256'>> {
  const { size: fileBytes } = await file.stat();
  const head = await firstBytes(file);
  const text = head === undefined ? undefined : fileOfTar(head, /^[^/]+\/RELEASE\.json$/);
  if (text === undefined) throw refusal('there is no RELEASE.json at its top');
  const manifest = parsed(text);
  if (manifest?.['product'] !== 'virt8ra-agent') throw refusal('RELEASE.json does not say product virt8ra-agent');
  const { version, architecture } = manifest;
  if (!Check(ReleaseVersion, version)) throw refusal('its version has not the form of one');
  if (architecture !== 'amd64' && architecture !== 'arm64') throw refusal('its architecture is neither amd64 nor arm64');
  return { fileBytes, version: String(version), architecture };
}

function refusal(why: string): Problem {
  return new Problem(
    'validation',
    `this is no release of the agent: ${why}. Send the virt8ra-agent-VERSION-linux-ARCHITECTURE.tar.gz that npm run package makes.`,
  );
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Undefined: it is not compressed by gzip. */
async function firstBytes(file: FileHandle): Promise<Buffer | undefined> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(lookedThrough), 0, lookedThrough, 0);
  const gunzip = createGunzip();
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    gunzip.end(buffer.subarray(0, bytesRead));
    for await (const chunk of gunzip as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes >= lookedThrough) break;
    }
  } catch {
    // What came before the fault, or before the end of the part that is read, counts.
  }
  return bytes === 0 ? undefined : Buffer.concat(chunks);
}

/** Content of the first regular file of that name; undefined when the part at hand has none. */
function fileOfTar(tar: Buffer, name: RegExp): string | undefined {
  for (let at = 0; at + block <= tar.length; ) {
    const header = tar.subarray(at, at + block);
    const bytes = Number.parseInt(textAt(header, 124, 12), 8);
    if (!Number.isSafeInteger(bytes) || bytes < 0) return undefined;
    const start = at + block;
    const isFile = ['0', ''].includes(textAt(header, 156, 1));
    if (isFile && name.test(textAt(header, 0, 100)))
      return start + bytes <= tar.length ? tar.toString('utf8', start, start + bytes) : undefined;
    at = start + Math.ceil(bytes / block) * block;
  }
  return undefined;
}

function textAt(header: Buffer, start: number, length: number): string {
  return header
    .toString('latin1', start, start + length)
    .replace(/\0.*$/s, '')
    .trim();
}
