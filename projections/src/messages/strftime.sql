-- What statements ask of SQLite's function of this name: seconds since 1970, as ISO 8601 with milliseconds.
CREATE FUNCTION strftime(text, numeric, text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_char(to_timestamp($2::double precision) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;
