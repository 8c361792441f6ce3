import { access, copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DesiredInstance, Problem } from '@virt8ra/contract';

const candidates = {
  amd64: [
    ['/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/share/OVMF/OVMF_VARS_4M.fd'],
    ['/usr/share/OVMF/OVMF_CODE.fd', '/usr/share/OVMF/OVMF_VARS.fd'],
  ],
  arm64: [['/usr/share/AAVMF/AAVMF_CODE.fd', '/usr/share/AAVMF/AAVMF_VARS.fd']],
} as const;

/**
 * Firmware of a UEFI guest: the shared code and the instance's own copy of the variables in `directory`. Undefined for BIOS guests.
 * Raises Problem unsupported when the firmware is not installed.
 */
export async function prepareFirmware(
  instance: Pick<DesiredInstance, 'architecture' | 'firmware'>,
  directory: string,
): Promise<{ code: string; variables: string } | undefined> {
  if (instance.firmware === 'BIOS' && instance.architecture === 'amd64') return undefined;
  for (const [code, template] of candidates[instance.architecture]) {
    if (!(await exists(code)) || !(await exists(template))) continue;
    const variables = join(directory, 'variables.fd');
    if (!(await exists(variables))) await copyFile(template, variables);
    return { code, variables };
  }
  const packages = { amd64: 'ovmf', arm64: 'qemu-efi-aarch64' } as const;
  throw new Problem(
    'unsupported',
    `this host has no UEFI firmware for ${instance.architecture} guests (apt install ${packages[instance.architecture]})`,
  );
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
