//! Uploads and the download of one's own data.

use super::{Definition, Place};

const FILE_UPLOAD: Place = Place::group("FileUpload");
const FILE_SYSTEM: Place = Place::section("FileUpload", "File System");
const USER_DATA_DOWNLOAD: Place = Place::group("UserDataDownload");
const WEBDAV_INTEGRATION: Place = Place::group("Webdav Integration");

pub(super) static DEFINITIONS: &[Definition] = &[
    FILE_UPLOAD.boolean("FileUpload_Enabled", true).public(),
    FILE_UPLOAD
        .int("FileUpload_MaxFileSize", 104_857_600)
        .public(),
    FILE_UPLOAD
        .string("FileUpload_MediaTypeWhiteList", "")
        .public(),
    FILE_UPLOAD
        .string("FileUpload_MediaTypeBlackList", "image/svg+xml")
        .public(),
    FILE_UPLOAD
        .boolean("FileUpload_ProtectFiles", true)
        .public(),
    FILE_UPLOAD.boolean("FileUpload_Restrict_to_room_members", true),
    FILE_UPLOAD.boolean("FileUpload_Restrict_to_users_who_can_access_room", false),
    FILE_UPLOAD
        .boolean("FileUpload_RotateImages", true)
        .public(),
    FILE_UPLOAD.boolean("FileUpload_Enable_json_web_token_for_files", true),
    FILE_UPLOAD
        .string("FileUpload_json_web_token_secret_for_files", "")
        .secret(),
    FILE_UPLOAD
        .select(
            "FileUpload_Storage_Type",
            "FileSystem",
            &[
                "GridFS",
                "AmazonS3",
                "GoogleCloudStorage",
                "Webdav",
                "FileSystem",
            ],
        )
        .public(),
    FILE_UPLOAD
        .boolean("FileUpload_Enabled_Direct", true)
        .public(),
    FILE_SYSTEM.string("FileUpload_FileSystemPath", ""),
    USER_DATA_DOWNLOAD
        .boolean("UserData_EnableDownload", true)
        .public(),
    USER_DATA_DOWNLOAD
        .string("UserData_FileSystemPath", "")
        .public(),
    USER_DATA_DOWNLOAD
        .string("UserData_FileSystemZipPath", "")
        .public(),
    USER_DATA_DOWNLOAD
        .int("UserData_ProcessingFrequency", 2)
        .public(),
    USER_DATA_DOWNLOAD
        .int("UserData_MessageLimitPerRequest", 1000)
        .public(),
    WEBDAV_INTEGRATION
        .boolean("Webdav_Integration_Enabled", false)
        .public(),
];
