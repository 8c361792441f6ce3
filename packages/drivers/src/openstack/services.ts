import { Problem } from '@virt8ra/contract';
import type { Exchanger } from '../_http/exchange.js';
import { problemFrom } from './errors.js';
import type { Identity } from './identity.js';

export type ServiceName = 'compute' | 'network' | 'image' | 'volume';

interface ServiceRules {
  readonly title: string;
  /** In the catalogue, by preference. */
  readonly types: readonly string[];
  readonly major: 'v2' | 'v2.0' | 'v2.1' | 'v3';
}

export const services: Readonly<Record<ServiceName, ServiceRules>> = {
  compute: { title: 'compute service (Nova)', types: ['compute'], major: 'v2.1' },
  network: { title: 'network service (Neutron)', types: ['network'], major: 'v2.0' },
  image: { title: 'image service (Glance)', types: ['image'], major: 'v2' },
  volume: { title: 'block storage service (Cinder)', types: ['block-storage', 'volumev3'], major: 'v3' },
};

/** The newest version of compute that this driver knows the meaning of, and the oldest it can work with. */
export const newestCompute = '2.90';
export const oldestCompute = '2.1';

export interface FoundService {
  readonly url: URL;
  /** Of compute: what both sides know. */
  readonly microversion?: string;
}

interface VersionDocument {
  readonly id: string;
  readonly status?: string;
  readonly version?: string;
  readonly min_version?: string;
  readonly links?: readonly { readonly rel: string; readonly href: string }[];
}

/** By the catalogue, then by what the endpoint says of its versions: URLs are found, not built. */
export async function findService(
  name: ServiceName,
  { exchanger, identity }: { readonly exchanger: Exchanger; readonly identity: Identity },
): Promise<FoundService | undefined> {
  const { types, major, title } = services[name];
  const endpoint = await identity.endpoint(types);
  if (endpoint === undefined) return undefined;
  const versionPath = endpoint.pathname.match(/^(.*\/v\d[\d.]*)(\/|$)/)?.[1];
  // A catalogue may name the version and the project: those versions are described one level up.
  const asked = new URL(endpoint);
  asked.pathname = versionPath === undefined ? `${endpoint.pathname.replace(/\/+$/, '')}/` : `${versionPath}/`;
  const answer = await exchanger.ask({ method: 'GET', url: asked, headers: { 'x-auth-token': await identity.token() } });
  const found = answer.status === 200 || answer.status === 300 ? versionsIn(answer.text) : [];
  const fitting = found.filter(
    ({ id, status }) => id.startsWith(major.replace(/\.\d+$/, '')) && (major !== 'v2.1' || id === 'v2.1') && status !== 'DEPRECATED',
  );
  const best = fitting.find(({ status }) => status === 'CURRENT') ?? fitting[0];
  if (versionPath === undefined && best === undefined) {
    if (answer.status >= 400 && answer.status !== 404) throw problemFrom(answer, title, { creates: false });
    throw new Problem('unsupported', `the ${title} does not speak ${major}`);
  }
  const url = versionPath === undefined && best !== undefined ? underEndpoint(endpoint, best, major) : endpoint;
  url.pathname = url.pathname.replace(/\/+$/, '');
  if (name !== 'compute') return { url };
  return { url, microversion: agreed(best) };
}

function versionsIn(text: string): readonly VersionDocument[] {
  try {
    const body = JSON.parse(text) as {
      readonly version?: VersionDocument;
      readonly versions?: readonly VersionDocument[] | { readonly values: readonly VersionDocument[] };
    };
    if (body.version !== undefined) return [body.version];
    return Array.isArray(body.versions) ? (body.versions as readonly VersionDocument[]) : [];
  } catch {
    return [];
  }
}

/** Of the link only the path counts: its host is often that behind a proxy. */
function underEndpoint(endpoint: URL, { links = [], id }: VersionDocument, major: string): URL {
  const href = links.find(({ rel }) => rel === 'self')?.href;
  const url = new URL(endpoint);
  const linked = href !== undefined && URL.canParse(href) ? new URL(href).pathname : undefined;
  url.pathname =
    linked?.startsWith(endpoint.pathname.replace(/\/+$/, '')) === true
      ? linked
      : `${endpoint.pathname.replace(/\/+$/, '')}/${major === 'v2' ? 'v2' : id}`;
  return url;
}

function agreed(document: VersionDocument | undefined): string {
  const theirs = document?.version === undefined || document.version === '' ? oldestCompute : document.version;
  const least = document?.min_version === undefined || document.min_version === '' ? oldestCompute : document.min_version;
  if (compareVersions(least, newestCompute) > 0)
    throw new Problem(
      'unsupported',
      `the cloud's compute service wants at least version ${least}; this driver speaks up to ${newestCompute}`,
    );
  return compareVersions(theirs, newestCompute) < 0 ? theirs : newestCompute;
}

/** Minor versions are numbers: 2.9 is older than 2.10. */
export function compareVersions(left: string, right: string): number {
  const [leftMajor = 0, leftMinor = 0] = left.split('.').map(Number);
  const [rightMajor = 0, rightMinor = 0] = right.split('.').map(Number);
  return leftMajor - rightMajor || leftMinor - rightMinor;
}
