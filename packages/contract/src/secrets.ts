/** Keeping secrets out of what people read: logs, support bundles. By the name they stand under, and by what they look like. */

/** Members whose value is never shown, wherever they stand. */
export const secretNames =
  /^(authorization|cookie|password|passwd|secret|token|accesstoken|adminToken|privatekey|key|csr|userdata|credentials|dsn|sshkeys)$/i;

const secretTexts: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, '[private key]'],
  [/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, '[token]'],
  [/\bwhsec_[\w+/=-]+/g, '[secret]'],
  [/\bv8enrol_[\w-]+/g, '[token]'],
  [/\bBearer\s+[^\s"']+/gi, 'Bearer [token]'],
  [/\b([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s@/]+@/gi, '$1:[password]@'],
  [/((?:\b[A-Z0-9_]*(?:PASSWORD|SECRET|TOKEN)|--(?:token|password))[=\s]+["']?)[^\s"']+/g, '$1[secret]'],
];

/** Tokens, keys and passwords inside a text, masked. */
export function maskSecrets(text: string): string {
  let masked = text;
  for (const [pattern, replacement] of secretTexts) masked = masked.replace(pattern, replacement);
  return masked;
}

/** A value with every secret in it masked. What `kept` names is shown though its name says secret, such as the `key` of an object in a ledger. */
export function withoutSecrets(value: unknown, kept: readonly string[] = []): unknown {
  if (typeof value === 'string') return maskSecrets(value);
  if (Array.isArray(value)) return value.map((item: unknown) => withoutSecrets(item, kept));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      secretNames.test(name) && !kept.includes(name) && member !== undefined ? '[secret]' : withoutSecrets(member, kept),
    ]),
  );
}
