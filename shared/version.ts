/** Version of the project, the same as the package's: what the agent reports and the scoring server names in its answers. */
export const productVersion = '0.1.0';
