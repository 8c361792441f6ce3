import { Problem } from '@virt8ra/contract';

/** How what cloud-init understands begins. */
const beginnings = ['#cloud-config', '#!', '#include', '#part-handler', '## template: jinja', 'content-type: multipart/'];

/** Raises `validation` for vendor data that cloud-init would pass over in every guest of the site. */
export function assertVendorData(text: string | undefined): void {
  if (text === undefined) return;
  const [first = ''] = text.split('\n', 1);
  if (beginnings.some((beginning) => first.toLowerCase().startsWith(beginning))) return;
  throw new Problem(
    'validation',
    `vendor data begins with one of ${beginnings.join(', ')}: by its first line cloud-init knows what it is`,
    {
      sources: [{ pointer: '/spec/vendorData' }],
    },
  );
}
