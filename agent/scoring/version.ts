/** Version of the scoring server, which it names in its answers; the same as the package's. */
export const serverVersion = '0.1.0';
