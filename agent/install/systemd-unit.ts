import type { AgentConfig } from '../agent-config.ts';

/** What the unit of the agent is made from. */
export interface UnitOptions {
  /** Absolute path of the program and its arguments. */
  readonly command: readonly string[];
  readonly config: Pick<AgentConfig, 'stateFolder' | 'engine'>;
}

/** Folders that ProtectHome= hides. */
const homes = ['/home/', '/root/', '/run/user/'];

/**
 * Writes the systemd unit that runs the agent, with no more rights than it uses. Pure.
 * @see https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html
 */
export function unitText({ command, config }: UnitOptions): string {
  const { stateFolder, engine } = config;
  const isAtHome = [...command, stateFolder].some((path) => homes.some((home) => path.startsWith(home)));
  return `[Unit]
Description=Modelferry agent
Documentation=man:systemd.service(5)
# No waiting for the network: what was last good is started without it.
After=docker.service
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=${command.map(quoted).join(' ')}
Restart=always
RestartSec=2
TimeoutStopSec=20
# The agent ends its modules itself. When it crashes they go on, and the next one finds them again.
KillMode=process
WorkingDirectory=/

ReadWritePaths=${quoted(stateFolder)}
ProtectSystem=strict
ProtectHome=${isAtHome ? 'read-only' : 'yes'}
PrivateTmp=yes
PrivateDevices=yes
NoNewPrivileges=yes
CapabilityBoundingSet=${capabilities(engine).join(' ')}
AmbientCapabilities=
ProtectClock=yes
${controlGroups(engine)}
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
`;
}

/** What root has to be able to do: reach its own files whosever they are, and for modules that are processes, act for their users. */
function capabilities(engine: AgentConfig['engine']): string[] {
  const ofFiles = ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER'];
  return engine === 'docker' ? ofFiles : [...ofFiles, 'CAP_KILL', 'CAP_SETGID', 'CAP_SETUID'];
}

/** Limits of modules that are processes are control groups, which the agent makes. */
function controlGroups(engine: AgentConfig['engine']): string {
  return `ProtectControlGroups=${engine === 'docker' ? 'yes' : 'no'}`;
}

/** Quotes an argument so that systemd takes it as it is. */
function quoted(argument: string): string {
  const text = argument.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w@%+=:,./$-]+$/.test(text) ? text : `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}
