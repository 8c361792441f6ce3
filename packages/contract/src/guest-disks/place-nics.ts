import type { GuestDiskFacts } from './guest-disk-facts.js';
import type { GuestTarget } from './guest-target.js';

/** Names from the kernel itself, or from the place of a card in the machine: they may differ on another. */
const nameOfCard = /^(eth\d+|en[opsx]\w+|ens\w+|eno\w+)$/;

/**
 * Which NIC of the target is meant by each name in the guest's files: as an agent inside the guest tells, as the guest's own rules do, or because there is one of
 * each. `placed` need a rule that binds the name to the MAC; for `open` names nobody can tell.
 */
export function placeNics(
  facts: GuestDiskFacts,
  { nics }: GuestTarget,
): { readonly placed: readonly { readonly name: string; readonly mac: string }[]; readonly open: readonly string[] } {
  const names = [...new Set(facts.nics.flatMap(({ name, mac }) => (name === undefined || mac !== undefined ? [] : [name])))].filter(
    (name) => nameOfCard.test(name),
  );
  const pinned = new Set(facts.pinned.map(({ name }) => name));
  const loose = names.filter((name) => !pinned.has(name));
  const told = loose.flatMap((name) => {
    const nic = nics.find((each) => each.name === name);
    return nic === undefined ? [] : [{ name, mac: nic.mac }];
  });
  if (told.length === loose.length) return { placed: told, open: [] };
  const [only] = nics;
  const [name] = loose;
  if (loose.length === 1 && nics.length === 1 && only !== undefined && name !== undefined)
    return { placed: [{ name, mac: only.mac }], open: [] };
  const byAddress = loose.flatMap((each) => {
    const own = facts.nics.filter((file) => file.name === each).flatMap(({ addresses }) => addresses.map(withoutPrefix));
    const nic = nics.find(({ addresses }) => addresses.some((address) => own.includes(withoutPrefix(address))));
    return nic === undefined ? [] : [{ name: each, mac: nic.mac }];
  });
  const placed = [...told, ...byAddress.filter(({ name: each }) => !told.some((one) => one.name === each))];
  const twice = new Set(placed.map(({ mac }) => mac)).size !== placed.length;
  if (twice) return { placed: told, open: loose.filter((each) => !told.some((one) => one.name === each)) };
  return { placed, open: loose.filter((each) => !placed.some((one) => one.name === each)) };
}

export function withoutPrefix(address: string): string {
  return address.split('/')[0] ?? address;
}
