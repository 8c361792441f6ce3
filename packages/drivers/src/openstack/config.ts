import { Problem } from '@virt8ra/contract';
import type { AccessRules, Settings } from '@virt8ra/driver';

export type Credentials =
  | { readonly type: 'application'; readonly id: string; readonly secret: string }
  | {
      readonly type: 'password';
      readonly user: string;
      readonly userDomain: string;
      readonly password: string;
      readonly project: string;
      readonly projectDomain: string;
    };

export interface OpenStackConfig {
  readonly site: string;
  /** Of Keystone, with its version: `https://cloud.example/identity/v3`. */
  readonly authUrl: URL;
  /** Undefined: the only one that the catalogue has. */
  readonly region: string | undefined;
  readonly interface: 'public' | 'internal';
  readonly availabilityZone: string | undefined;
  readonly credentials: Credentials;
}

const accountSettings = ['authUrl', 'region', 'interface', 'availabilityZone'];
const siteSettings = ['region', 'availabilityZone'];
const application = ['applicationCredentialId', 'applicationCredentialSecret'];
const password = ['userName', 'userDomain', 'password', 'projectName', 'projectDomain'];

export const access: AccessRules = {
  checkAccount(settings) {
    assertKnown(settings, accountSettings, '/spec/settings');
    authUrlFrom(settings, '/spec/settings');
    interfaceFrom(settings, '/spec/settings');
  },
  checkSite: (settings) => assertKnown(settings, siteSettings, '/spec/settings'),
  checkCredentials: (credentials) => void credentialsFrom(credentials, ''),
};

/** Raises `validation` with pointers. */
export function parseConfig(input: unknown): OpenStackConfig {
  const { site, settings, credentials } = (typeof input === 'object' && input !== null ? input : {}) as Partial<Record<string, unknown>>;
  if (typeof site !== 'string' || site === '') throw wrong('/site', 'is missing');
  const given = (settings ?? {}) as Settings;
  assertKnown(given, accountSettings, '/settings');
  if (credentials === undefined)
    throw new Problem('unavailable', 'the account has no credentials; give them with its action credentials', { retryAfterSeconds: 60 });
  return {
    site,
    authUrl: authUrlFrom(given, '/settings'),
    region: given['region'],
    interface: interfaceFrom(given, '/settings'),
    availabilityZone: given['availabilityZone'],
    credentials: credentialsFrom(credentials as Settings, '/credentials'),
  };
}

/** What tells one credential from another, without its secret. */
export function credentialName({ authUrl, credentials }: OpenStackConfig): string {
  return `${authUrl.href} ${credentials.type === 'application' ? credentials.id : `${credentials.userDomain}/${credentials.user}/${credentials.projectDomain}/${credentials.project}`}`;
}

function credentialsFrom(given: Settings, at: string): Credentials {
  const isApplication = given['applicationCredentialId'] !== undefined || given['applicationCredentialSecret'] !== undefined;
  assertKnown(given, isApplication ? application : password, at);
  const need = (name: string): string => {
    const value = given[name];
    if (value === undefined || value === '')
      throw wrong(
        `${at}/${name}`,
        `is missing; an account has either ${application.join(' and ')}, or userName, password and projectName with userDomain and projectDomain`,
      );
    return value;
  };
  if (isApplication) return { type: 'application', id: need('applicationCredentialId'), secret: need('applicationCredentialSecret') };
  const userDomain = given['userDomain'] ?? 'Default';
  return {
    type: 'password',
    user: need('userName'),
    userDomain,
    password: need('password'),
    project: need('projectName'),
    projectDomain: given['projectDomain'] ?? userDomain,
  };
}

function authUrlFrom(given: Settings, at: string): URL {
  const text = given['authUrl'] ?? '';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const pointer = `${at}/authUrl`;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    throw wrong(pointer, 'must be the URL of Keystone, such as https://cloud.example/identity/v3');
  if (url.username !== '' || url.password !== '' || url.search !== '')
    throw wrong(pointer, 'must hold no user, password or query: it is stored and shown');
  const local = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  if (url.protocol === 'http:' && !local) throw wrong(pointer, 'must begin with https://: credentials are sent there');
  url.pathname = url.pathname.replace(/\/+$/, '');
  if (!url.pathname.endsWith('/v3')) url.pathname = `${url.pathname.replace(/\/$/, '')}/v3`;
  return url;
}

function interfaceFrom(given: Settings, at: string): 'public' | 'internal' {
  const wanted = given['interface'] ?? 'public';
  if (wanted !== 'public' && wanted !== 'internal') throw wrong(`${at}/interface`, 'must be public or internal');
  return wanted;
}

function assertKnown(given: Settings, known: readonly string[], at: string): void {
  for (const name of Object.keys(given))
    if (!known.includes(name)) throw wrong(`${at}/${name}`, `is not known; known are ${known.join(', ')}`);
}

function wrong(pointer: string, why: string): Problem {
  return new Problem('validation', `${pointer} ${why}`, { sources: [{ pointer }] });
}
