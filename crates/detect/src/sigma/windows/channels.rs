//! Which of Sigma's services and categories an event of a Windows log is of, by its channel and number. What is not in
//! these tables is left open.

use crate::sigma::origin::NO_CATEGORY;

/// Channels, by the name that Sigma has for them.
const SERVICES: [(&str, &str); 52] = [
    ("Application", "application"),
    ("DNS Server", "dns-server"),
    ("MSExchange Management", "msexchange-management"),
    ("Microsoft-IIS-Configuration/Operational", "iis-configuration"),
    ("Microsoft-ServiceBus-Client/Admin", "microsoft-servicebus-client"),
    ("Microsoft-ServiceBus-Client/Operational", "microsoft-servicebus-client"),
    ("Microsoft-Windows-AppLocker/EXE and DLL", "applocker"),
    ("Microsoft-Windows-AppLocker/MSI and Script", "applocker"),
    ("Microsoft-Windows-AppLocker/Packaged app-Deployment", "applocker"),
    ("Microsoft-Windows-AppLocker/Packaged app-Execution", "applocker"),
    ("Microsoft-Windows-AppModel-Runtime/Admin", "appmodel-runtime"),
    ("Microsoft-Windows-AppXDeploymentServer/Operational", "appxdeployment-server"),
    ("Microsoft-Windows-AppxPackaging/Operational", "appxpackaging-om"),
    ("Microsoft-Windows-Bits-Client/Operational", "bits-client"),
    ("Microsoft-Windows-CAPI2/Operational", "capi2"),
    (
        "Microsoft-Windows-CertificateServicesClient-Lifecycle-System/Operational",
        "certificateservicesclient-lifecycle-system",
    ),
    ("Microsoft-Windows-CodeIntegrity/Operational", "codeintegrity-operational"),
    ("Microsoft-Windows-DNS Client Events/Operational", "dns-client"),
    ("Microsoft-Windows-DNS-Client/Operational", "dns-client"),
    ("Microsoft-Windows-DNS-Server/Analytical", "dns-server-analytic"),
    ("Microsoft-Windows-DNS-Server/Audit", "dns-server-audit"),
    ("Microsoft-Windows-Diagnosis-Scripted/Operational", "diagnosis-scripted"),
    ("Microsoft-Windows-DriverFrameworks-UserMode/Operational", "driver-framework"),
    ("Microsoft-Windows-LDAP-Client/Debug", "ldap"),
    ("Microsoft-Windows-LSA/Operational", "lsa-server"),
    ("Microsoft-Windows-NTLM/Operational", "ntlm"),
    ("Microsoft-Windows-PowerShell/Operational", "powershell"),
    ("Microsoft-Windows-PrintService/Admin", "printservice-admin"),
    ("Microsoft-Windows-PrintService/Operational", "printservice-operational"),
    ("Microsoft-Windows-SMBServer/Connectivity", "smbserver-connectivity"),
    ("Microsoft-Windows-Security-Mitigations/KernelMode", "security-mitigations"),
    ("Microsoft-Windows-Security-Mitigations/UserMode", "security-mitigations"),
    ("Microsoft-Windows-Shell-Core/Operational", "shell-core"),
    ("Microsoft-Windows-SmbClient/Connectivity", "smbclient-connectivity"),
    ("Microsoft-Windows-SmbClient/Security", "smbclient-security"),
    ("Microsoft-Windows-Sysmon/Operational", "sysmon"),
    ("Microsoft-Windows-TaskScheduler/Operational", "taskscheduler"),
    (
        "Microsoft-Windows-TerminalServices-LocalSessionManager/Operational",
        "terminalservices-localsessionmanager",
    ),
    ("Microsoft-Windows-WMI-Activity/Operational", "wmi"),
    ("Microsoft-Windows-Windows Defender/Operational", "windefend"),
    ("Microsoft-Windows-Windows Firewall With Advanced Security/Firewall", "firewall-as"),
    ("OpenSSH/Operational", "openssh"),
    ("PowerShellCore/Operational", "powershell"),
    ("Security", "security"),
    ("System", "system"),
    ("Windows PowerShell", "powershell-classic"),
    ("application", "application"),
    ("security", "security"),
    ("system", "system"),
    ("Microsoft-Windows-Kernel-File/Analytic", "kernel-file"),
    ("Microsoft-Windows-Kernel-Process/Analytic", "kernel-process"),
    ("Microsoft-Windows-Kernel-Network/Analytic", "kernel-network"),
];

/// The service that stands for a channel.
pub(in crate::sigma) fn service(channel: &str) -> Option<&'static str> {
    SERVICES.iter().find(|(known, _)| *known == channel).map(|(_, service)| *service)
}

/// The category of an event of a service.
pub(in crate::sigma) fn category(service: &str, number: i64, kind: Option<&str>) -> Option<&'static str> {
    Some(match (service, number) {
        ("sysmon", 1) | ("security", 4688) => "process_creation",
        ("sysmon", 2) => "file_change",
        ("sysmon", 3) | ("security", 5156) => "network_connection",
        ("sysmon", 4 | 16) => "sysmon_status",
        ("sysmon", 5) => "process_termination",
        ("sysmon", 6) => "driver_load",
        ("sysmon", 7) => "image_load",
        ("sysmon", 8) => "create_remote_thread",
        ("sysmon", 9) => "raw_access_thread",
        ("sysmon", 10) => "process_access",
        ("sysmon", 11) => "file_event",
        ("sysmon", 12) => match kind {
            Some("CreateKey") => "registry_add",
            Some("DeleteKey" | "DeleteValue") => "registry_delete",
            _ => "registry_event",
        },
        ("sysmon", 13) | ("security", 4657) => "registry_set",
        ("sysmon", 14) => "registry_rename",
        ("sysmon", 15) => "create_stream_hash",
        ("sysmon", 17 | 18) => "pipe_created",
        ("sysmon", 19..=21) => "wmi_event",
        ("sysmon", 22) => "dns_query",
        ("sysmon", 23 | 26) => "file_delete",
        ("sysmon", 24) => "clipboard_capture",
        ("sysmon", 25) => "process_tampering",
        ("sysmon", 27) => "file_block_executable",
        ("sysmon", 28) => "file_block_shredding",
        ("sysmon", 29) => "file_executable_detected",
        ("sysmon", 255) => "sysmon_error",
        ("powershell", 4103) => "ps_module",
        ("powershell", 4104) => "ps_script",
        ("powershell-classic", 400) => "ps_classic_start",
        ("powershell-classic", 600) => "ps_classic_provider_start",
        ("powershell-classic", 800) => "ps_classic_script",
        ("windefend", _) => "antivirus",
        ("sysmon" | "security" | "system" | "powershell" | "powershell-classic", _) => NO_CATEGORY,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_and_a_number_are_a_category() {
        assert_eq!(service("Microsoft-Windows-Sysmon/Operational"), Some("sysmon"));
        assert_eq!(service("Of-Somebody/Else"), None);
        for (service, number, kind, found) in [
            ("sysmon", 1, None, Some("process_creation")),
            ("sysmon", 12, Some("DeleteKey"), Some("registry_delete")),
            ("sysmon", 12, None, Some("registry_event")),
            ("security", 4624, None, Some(NO_CATEGORY)),
            ("security", 4688, None, Some("process_creation")),
            ("taskscheduler", 142, None, None),
        ] {
            assert_eq!(category(service, number, kind), found, "{service} {number}");
        }
    }
}
