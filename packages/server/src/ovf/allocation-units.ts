const words: Readonly<Record<string, number>> = {
  byte: 1,
  bytes: 1,
  kilobytes: 2 ** 10,
  kbytes: 2 ** 10,
  kb: 2 ** 10,
  megabytes: 2 ** 20,
  mbytes: 2 ** 20,
  mb: 2 ** 20,
  gigabytes: 2 ** 30,
  gbytes: 2 ** 30,
  gb: 2 ** 30,
  terabytes: 2 ** 40,
  tb: 2 ** 40,
};

/**
 * Bytes of one unit, as CIM writes it (`byte * 2^20`, `MegaBytes`; DSP0004 annex C). Undefined: it is none of bytes, or beyond 2^60.
 */
export function bytesOfUnit(text: string): number | undefined {
  const [first = '', ...factors] = text
    .toLowerCase()
    .split('*')
    .map((part) => part.trim());
  let bytes = words[first];
  if (bytes === undefined || factors.length > 8) return undefined;
  for (const factor of factors) {
    const [, base = '', power = '1'] = /^(\d{1,6})(?:\s*\^\s*(\d{1,3}))?$/.exec(factor) ?? [];
    bytes *= Number(base) ** Number(power);
  }
  return Number.isFinite(bytes) && bytes >= 1 && bytes <= 2 ** 60 ? bytes : undefined;
}
