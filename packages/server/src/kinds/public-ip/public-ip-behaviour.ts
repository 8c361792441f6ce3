import {
  nic,
  Problem,
  type PublicIpSpec,
  publicIp,
  type Reference,
  referenceTo,
  type SiteSpec,
  site,
  urnFromAddress,
  workspace,
} from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { Admission, KindBehaviour, PutRequest } from '../behaviour.js';
import { type IpRange, parseAddress } from '../network/index.js';
import { namesOfUsers } from '../users.js';
import { canonical, giveAddressBack, poolOf, takeAddress } from './pool.js';

export interface PublicIpStatus {
  ipAddress?: string;
  site?: string;
  attachedTo?: Reference;
}

const extension = 'virt8ra.site';

/** Public IP: a record that holds an address of its site from the PUT until it is deleted. What it leads to is the NIC's to say. */
export const publicIpBehaviour: KindBehaviour<PublicIpSpec, PublicIpStatus> = {
  kind: publicIp,
  admitPut: admitPublicIp,
  async admitDelete(tx, { uid, address }) {
    const users = await tx.usersOf(uid);
    if (users.length > 0)
      throw new Problem('conflict', `public IP ${address.name} is used by ${namesOfUsers(users)}; take it out of its publicIpRefs first`);
    await giveAddressBack(tx.client, urnFromAddress(publicIp, address));
  },
  async present(reader, resources) {
    return await Promise.all(
      resources.map(async ({ uid }) => {
        const [user] = await reader.usersOf(uid, nic);
        return user === undefined ? {} : { attachedTo: referenceTo(nic, user.address) };
      }),
    );
  },
};

async function admitPublicIp(
  tx: StoreTransaction,
  { address, next, previous }: PutRequest<PublicIpSpec, PublicIpStatus>,
): Promise<Admission<PublicIpStatus>> {
  const wanted = wantedAddress(next.spec);
  const family = next.spec.version === 'IPv4' ? 4 : 6;
  const at = await siteFor(tx, address, next.extensions?.[extension], previous, family, wanted);
  const ipAddress = await takeAddress(tx.client, {
    site: at.name,
    pool: at.pool,
    family,
    publicIp: urnFromAddress(publicIp, address),
    wanted,
  });
  if (previous !== undefined && previous.status.ipAddress !== ipAddress) {
    const users = await tx.usersOf(previous.uid);
    if (users.length > 0) {
      throw new Problem(
        'conflict',
        `public IP ${address.name} is used by ${namesOfUsers(users)} and keeps ${previous.status.ipAddress ?? 'its address'} meanwhile`,
        {
          sources: [{ pointer: '/spec/address' }],
        },
      );
    }
  }
  return { references: [at.reference], status: { ipAddress, site: at.name }, outcome: 'active' };
}

/** Empty is absent: clients that know no better send it so. */
function wantedAddress({ address, version }: PublicIpSpec): string | undefined {
  if (address === undefined || address === '') return undefined;
  const parsed = parseAddress(address);
  if (parsed !== undefined && version === `IPv${parsed.family}`) return canonical(address);
  throw new Problem('validation', `${JSON.stringify(address)} is not an ${version} address; leave it out for any free one`, {
    sources: [{ pointer: '/spec/address' }],
  });
}

interface PoolSite {
  readonly name: string;
  readonly pool: readonly IpRange[];
  readonly reference: NonNullable<Admission<PublicIpStatus>['references']>[number];
}

/**
 * The site it is to be of: the one it names, else the one it is of already, else that of its workspace, else the one whose pool has the address
 * that it names, else the only one that has public addresses of that version.
 */
async function siteFor(
  tx: StoreTransaction,
  address: StoredResource['address'],
  named: string | undefined,
  previous: StoredResource<PublicIpSpec, PublicIpStatus> | undefined,
  family: 4 | 6,
  wanted: string | undefined,
): Promise<PoolSite> {
  const pointer = `/extensions/${extension}`;
  const changed = previous === undefined || previous.extensions[extension] !== named;
  const chosen = named !== undefined && changed ? named : (previous?.status.site ?? named ?? (await siteOfWorkspace(tx, address)));
  if (chosen !== undefined) {
    const found = await tx.share<SiteSpec>(site, { name: chosen });
    if (found === undefined || found.deletedAt !== undefined)
      throw new Problem('validation', `there is no site ${chosen.slice(0, 64)}; virt8ra sites lists them`, { sources: [{ pointer }] });
    return poolSite(found);
  }
  const offering = (await sitesWithPool(tx)).filter(({ pool }) => pool.some((range) => range.family === family));
  const fitting = wanted === undefined ? offering : offering.filter(({ pool }) => takes(pool, wanted));
  const [only, another] = fitting;
  if (only !== undefined && another === undefined) {
    const held = await tx.share<SiteSpec>(site, { name: only.name });
    if (held !== undefined) return poolSite(held);
  }
  throw noSite(fitting.length === 0 ? offering : fitting, family, pointer);
}

function takes(pool: readonly IpRange[], text: string): boolean {
  const address = parseAddress(text);
  return (
    address !== undefined &&
    pool.some(({ family, first, last }) => family === address.family && first <= address.value && address.value <= last)
  );
}

function noSite(offering: readonly { readonly name: string }[], family: 4 | 6, pointer: string): Problem {
  if (offering.length === 0) {
    return new Problem(
      'validation',
      `no site has public IPv${family} addresses to give; its operator names them in the spec of a site as publicAddresses`,
      { sources: [{ pointer: '/spec/version' }] },
    );
  }
  const names = offering.map(({ name }) => name).slice(0, 8);
  return new Problem(
    'validation',
    `a public IP belongs to a site; name it with the extension ${extension}, here or at the workspace: ${names.join(', ')}`,
    { sources: [{ pointer }] },
  );
}

async function siteOfWorkspace(
  tx: StoreTransaction,
  { tenant, workspace: name = '' }: StoredResource['address'],
): Promise<string | undefined> {
  const found = await tx.get(workspace, { ...(tenant === undefined ? {} : { tenant }), name });
  return found?.extensions[extension];
}

/** Every site that has public addresses. */
export async function sitesWithPool(
  tx: Pick<StoreTransaction, 'list'>,
): Promise<readonly { readonly name: string; readonly pool: readonly IpRange[] }[]> {
  const found: { readonly name: string; readonly pool: readonly IpRange[] }[] = [];
  let after: string | undefined;
  do {
    const page = await tx.list<SiteSpec>(site, {}, { selector: [], limit: 1000, after });
    for (const { address, spec, deletedAt } of page.items) {
      if (deletedAt === undefined && spec.publicAddresses !== undefined) found.push({ name: address.name, pool: poolOf(spec) });
    }
    after = page.next;
  } while (after !== undefined);
  return found;
}

function poolSite({ uid, address, spec }: StoredResource<SiteSpec>): PoolSite {
  return {
    name: address.name,
    pool: poolOf(spec),
    // Not in the specification: kept so that the site does not go under it.
    reference: { pointer: '/status/site', given: `sites/${address.name}`, uid },
  };
}
