import type { GuestNicFile, NicFileKind } from '@virt8ra/contract';

const macPattern = /([0-9a-f]{2}(?::[0-9a-f]{2}){5})/i;
const addressPattern = /^(\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]*:[0-9a-f:.]+)(\/\d{1,3})?$/i;

/** Patterns of the shell for the files that name NICs. */
export const nicFilePatterns: Readonly<Record<NicFileKind, readonly string[]>> = {
  netplan: ['/etc/netplan/*.yaml'],
  ifcfg: ['/etc/sysconfig/network-scripts/ifcfg-*', '/etc/sysconfig/network/ifcfg-*'],
  'network-manager': ['/etc/NetworkManager/system-connections/*'],
  interfaces: ['/etc/network/interfaces', '/etc/network/interfaces.d/*'],
  networkd: ['/etc/systemd/network/*.network'],
};

interface Draft {
  name?: string;
  mac?: string;
  addresses: string[];
}

/** The NICs that a file tells of; what it does not bind to anything is left out. Never raises: it is a stranger's text. */
export function parseNicFile(kind: NicFileKind, file: string, text: string): GuestNicFile[] {
  const drafts = readers[kind](text.slice(0, 262_144));
  return drafts
    .filter(({ name, mac, addresses }) => (name !== undefined || mac !== undefined || addresses.length > 0) && name !== 'lo')
    .slice(0, 16)
    .map(({ name, mac, addresses }) => ({
      file,
      kind,
      ...(name === undefined ? {} : { name: name.slice(0, 256) }),
      ...(mac === undefined ? {} : { mac }),
      addresses: addresses.filter((address) => addressPattern.test(address) && address.length <= 49).slice(0, 32),
    }));
}

const readers: Readonly<Record<NicFileKind, (text: string) => Draft[]>> = {
  netplan,
  ifcfg,
  'network-manager': networkManager,
  interfaces,
  networkd,
};

function plain(word: string | undefined): string {
  return (word ?? '')
    .replace(/\s+#.*$/, '')
    .trim()
    .replaceAll(/^["']|["']$/g, '');
}

/** Of YAML only what netplan is written in: blocks by depth, lists of addresses in either form. */
function netplan(text: string): Draft[] {
  const drafts: Draft[] = [];
  const path: { readonly depth: number; readonly key: string }[] = [];
  let draft: Draft | undefined;
  for (const line of text.split('\n')) {
    if (/^\s*(#|$)/.test(line)) continue;
    const depth = line.search(/\S/);
    const item = /^\s*-\s+(.*)$/.exec(line)?.[1];
    if (item !== undefined) {
      if (draft !== undefined && path.at(-1)?.key === 'addresses' && path.at(-2)?.key !== 'nameservers')
        draft.addresses.push(plain(item).replace(/:$/, ''));
      continue;
    }
    const [, rawKey, value = ''] = /^\s*("[^"]*"|'[^']*'|[^\s:]+)\s*:\s*(.*)$/.exec(line) ?? [];
    if (rawKey === undefined) continue;
    while ((path.at(-1)?.depth ?? -1) >= depth) path.pop();
    const key = plain(rawKey);
    const above = path.map((each) => each.key);
    path.push({ depth, key });
    if (above.at(-1) === 'ethernets') {
      const mac = /\bmatch\b/.test(value) ? macPattern.exec(value)?.[1] : undefined;
      draft = { ...(mac === undefined ? { name: key } : { mac }), addresses: [] };
      drafts.push(draft);
    } else if (['bonds', 'bridges', 'vlans', 'wifis', 'tunnels'].includes(above.at(-1) ?? '')) draft = undefined;
    if (draft === undefined) continue;
    const mac = macPattern.exec(value)?.[1];
    if (mac !== undefined && (key === 'macaddress' || key === 'match')) draft.mac = mac;
    // The key is only an id where a pattern matches.
    if (key === 'match') delete draft.name;
    if (key === 'name' && above.at(-1) === 'match' && !/[*?[]/.test(value)) draft.name = plain(value);
    if (key === 'addresses' && above.at(-1) !== 'nameservers' && value.startsWith('['))
      draft.addresses.push(...value.replaceAll(/[[\]]/g, '').split(',').map(plain));
  }
  return drafts;
}

function ifcfg(text: string): Draft[] {
  const values = new Map(
    text.split('\n').flatMap((line) => {
      const found = /^\s*([A-Z0-9_]+)\s*=\s*(.*)$/.exec(line);
      return found?.[1] === undefined ? [] : [[found[1], plain(found[2])] as const];
    }),
  );
  const name = values.get('DEVICE');
  const mac = macPattern.exec(values.get('HWADDR') ?? '')?.[1];
  const addresses = [...values].flatMap(([key, value]) => {
    const place = /^(IPADDR|IPV6ADDR)(\d*)$/.exec(key);
    if (place === null) return [];
    const prefix = values.get(`PREFIX${place[2]}`);
    return [prefix === undefined || value.includes('/') ? value : `${value}/${prefix}`];
  });
  return [{ ...(name === undefined ? {} : { name }), ...(mac === undefined ? {} : { mac }), addresses }];
}

function sections(text: string): { readonly section: string; readonly key: string; readonly value: string }[] {
  let section = '';
  return text.split('\n').flatMap((line) => {
    const head = /^\s*\[([^\]]+)\]/.exec(line)?.[1];
    if (head !== undefined) {
      section = head.toLowerCase();
      return [];
    }
    const found = /^\s*([A-Za-z0-9_.-]+)\s*=\s*(.*)$/.exec(line);
    return found?.[1] === undefined ? [] : [{ section, key: found[1].toLowerCase(), value: plain(found[2]) }];
  });
}

function networkManager(text: string): Draft[] {
  const draft: Draft = { addresses: [] };
  for (const { section, key, value } of sections(text)) {
    if (section === 'connection' && key === 'interface-name') draft.name = value;
    const mac = macPattern.exec(value)?.[1];
    if ((section === 'ethernet' || section === '802-3-ethernet') && key === 'mac-address' && mac !== undefined) draft.mac = mac;
    if ((section === 'ipv4' || section === 'ipv6') && /^address(es)?\d*$/.test(key)) draft.addresses.push(value.split(/[,;]/)[0] ?? '');
  }
  return [draft];
}

function interfaces(text: string): Draft[] {
  const drafts = new Map<string, Draft>();
  let draft: Draft | undefined;
  for (const line of text.split('\n')) {
    const [word, first, , method] = line.trim().split(/\s+/);
    if (word === 'iface' && first !== undefined) {
      draft = drafts.get(first) ?? { name: first, addresses: [] };
      if (method !== 'loopback') drafts.set(first, draft);
    } else if (word === 'address' && first !== undefined) draft?.addresses.push(first);
    else if (word === 'hwaddress' && draft !== undefined) {
      const mac = macPattern.exec(line)?.[1];
      if (mac !== undefined) draft.mac = mac;
    }
  }
  return [...drafts.values()];
}

function networkd(text: string): Draft[] {
  const draft: Draft = { addresses: [] };
  for (const { section, key, value } of sections(text)) {
    const mac = macPattern.exec(value)?.[1];
    if (section === 'match' && key === 'name' && !/[*?[! ]/.test(value)) draft.name = value;
    if (section === 'match' && (key === 'macaddress' || key === 'permanentmacaddress') && mac !== undefined) draft.mac = mac;
    if ((section === 'network' || section === 'address') && key === 'address') draft.addresses.push(value);
  }
  return [draft];
}

/** Names that the guest itself gives to MACs: a `.link` file, or a rule of udev. */
export function parsePins(file: string, text: string): { file: string; name: string; mac: string }[] {
  if (file.endsWith('.link')) {
    const found = sections(text);
    const mac = macPattern.exec(found.find(({ section, key }) => section === 'match' && key.endsWith('macaddress'))?.value ?? '')?.[1];
    const name = found.find(({ section, key }) => section === 'link' && key === 'name')?.value;
    return mac === undefined || name === undefined ? [] : [{ file, name: name.slice(0, 256), mac }];
  }
  return text.split('\n').flatMap((line) => {
    const mac = macPattern.exec(/ATTR\{address\}=="([^"]+)"/.exec(line)?.[1] ?? '')?.[1];
    const name = /NAME="([^"]+)"/.exec(line)?.[1];
    return mac === undefined || name === undefined ? [] : [{ file, name: name.slice(0, 256), mac }];
  });
}
