/** Where kinds that keep what block storages once were stand in the API. */
export const pointInTime = { provider: 'virt8ra.backup', version: 'v1beta1', scope: 'workspace' } as const;

/** Of what it is stays so. */
export const fixedSubject = { immutable: ['/instanceRef', '/blockStorageRef'] } as const;
