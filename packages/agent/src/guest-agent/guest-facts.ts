import { isIP } from 'node:net';
import { type GuestFacts, guestFactsMost } from '@virt8ra/contract';
import type { GuestAgent } from './guest-agent.js';

/** An agent that is there answers at once; who wants the channel meanwhile waits no longer than all of this together. */
const answerMs = 1_500;
const allMs = 4_000;

/**
 * Asks the agent inside a guest for what it tells of itself. What it does not answer in time or in a form that makes sense is left out. Never raises;
 * undefined when it answers nothing at all.
 */
export async function readGuestFacts(agent: Pick<GuestAgent, 'ask'>): Promise<GuestFacts | undefined> {
  const end = performance.now() + allMs;
  const ask = async (command: string): Promise<unknown> => {
    const leftMs = Math.min(answerMs, end - performance.now());
    return leftMs <= 0 ? undefined : await agent.ask(command, leftMs).catch(() => undefined);
  };
  const facts = guestFactsFrom({
    hostName: await ask('guest-get-host-name'),
    os: await ask('guest-get-osinfo'),
    interfaces: await ask('guest-network-get-interfaces'),
    fileSystems: await ask('guest-get-fsinfo'),
  });
  return Object.keys(facts).length === 0 ? undefined : facts;
}

/** The answers of a guest's agent, bounded and without anything that could harm whoever shows them. */
export function guestFactsFrom(answers: Readonly<Record<'hostName' | 'os' | 'interfaces' | 'fileSystems', unknown>>): GuestFacts {
  const hostName = textFrom(fieldsOf(answers.hostName)['host-name']);
  const os = osFrom(fieldsOf(answers.os));
  const { interfaces, fileSystems } = answers;
  return {
    ...(hostName === undefined ? {} : { hostName }),
    ...(os === undefined ? {} : { os }),
    ...(Array.isArray(interfaces) ? { interfaces: interfacesFrom(interfaces) } : {}),
    ...(Array.isArray(fileSystems) ? { fileSystems: fileSystemsFrom(fileSystems) } : {}),
  };
}

function osFrom(fields: Fields): GuestFacts['os'] {
  const name = textFrom(fields['pretty-name']) ?? textFrom(fields['name']) ?? textFrom(fields['id']);
  const kernel = textFrom(fields['kernel-release']);
  return name === undefined ? undefined : { name, ...(kernel === undefined ? {} : { kernel }) };
}

function interfacesFrom(given: readonly unknown[]): NonNullable<GuestFacts['interfaces']> {
  const found: NonNullable<GuestFacts['interfaces']> = [];
  for (const each of given) {
    const fields = fieldsOf(each);
    const name = textFrom(fields['name']);
    if (name === undefined || name === 'lo') continue;
    if (found.length === guestFactsMost.interfaces) break;
    const mac = typeof fields['hardware-address'] === 'string' ? fields['hardware-address'].toLowerCase() : '';
    const addresses = Array.isArray(fields['ip-addresses']) ? fields['ip-addresses'] : [];
    found.push({
      name,
      ...(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac) ? { mac } : {}),
      addresses: addresses.slice(0, guestFactsMost.addresses).flatMap(addressFrom),
    });
  }
  return found;
}

function addressFrom(given: unknown): string[] {
  const { 'ip-address': address, prefix } = fieldsOf(given);
  const version = typeof address === 'string' && address.length < 46 && !address.includes('%') ? isIP(address) : 0;
  if (version === 0) return [];
  const length = wholeFrom(prefix);
  return [length === undefined || length > (version === 4 ? 32 : 128) ? String(address) : `${String(address).toLowerCase()}/${length}`];
}

function fileSystemsFrom(given: readonly unknown[]): NonNullable<GuestFacts['fileSystems']> {
  const found: NonNullable<GuestFacts['fileSystems']> = [];
  for (const each of given) {
    const fields = fieldsOf(each);
    const mount = textFrom(fields['mountpoint']);
    const type = textFrom(fields['type']);
    const sizeBytes = wholeFrom(fields['total-bytes']);
    const usedBytes = wholeFrom(fields['used-bytes']);
    if (mount === undefined || sizeBytes === undefined || usedBytes === undefined) continue;
    if (found.length === guestFactsMost.fileSystems) break;
    found.push({ mount, ...(type === undefined ? {} : { type }), sizeBytes, usedBytes });
  }
  return found;
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

function wholeFrom(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** Without control characters, halves of characters, and what turns text around. */
function textFrom(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  const clean = value
    .slice(0, 4 * guestFactsMost.text)
    .replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim();
  const text = [...clean].slice(0, guestFactsMost.text / 2).join('');
  return text === '' ? undefined : text;
}
