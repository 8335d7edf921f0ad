"""From a label to the field that it asks for."""

from __future__ import annotations

import pytest

from service.sources.fields.matching import match_label, match_path, split_words

LABELS = {
    "email": (
        "email, E-Mail, your-email, emailAddress, EMAIL_ADDRESS, contact[email], q12_email,"
        " email-123, No Label email, What is your e-mail address?, Ihre E-Mail-Adresse, Adresse"
        " e-mail *, Courriel, Correo electrónico, Cuál es tu correo electrónico, Indirizzo e-mail,"
        " Seu melhor email, Endereço de e-mail, E-mailadres, E-postadress, Adres e-mail,"
        " data[merges][EMAIL], Work Email, Email (for your quote)"
    ),
    "phone": (
        "phone, Phone Number, your-phone, mobilePhone, tel-456, No Label tel, Telefonnummer, Bitte"
        " geben Sie Ihre Telefonnummer ein, Handy, Téléphone, Numéro de téléphone, Teléfono,"
        " Telefono, Telemóvel, Telefoonnummer, Mobilnummer, Numer telefonu, WhatsApp, contact_no"
        " phone, phone_number"
    ),
    "name": (
        "name, your-name, Full Name, fullName, contact-name, Naam, Namn, Nome, Nombre, Imię i"
        " nazwisko, Vor- und Nachname, Ansprechpartner, Nom et prénom, Wie heißen Sie?, First and"
        " last name, customer_name, What's your name?"
    ),
    "first_name": (
        "first_name, firstName, First Name:, fname, What is your first name?, Vorname, Prénom,"
        " Förnamn, Voornaam, Imię, data[merges][FNAME], Given Name"
    ),
    "last_name": (
        "last_name, lastName, surname, lname, Nachname, Nom de famille, Apellidos, Cognome,"
        " Sobrenome, Achternaam, Efternamn, Nazwisko"
    ),
    "company": (
        "company, Company Name, company_name, organisation, Organization, Firma, Unternehmen,"
        " Firmenname, Entreprise, Société, Nom de l'entreprise, Empresa, Azienda, Ragione sociale,"
        " Bedrijf, Bedrijfsnaam, Företag, Nazwa firmy, Your company, business-name"
    ),
    "job_title": (
        "job_title, jobTitle, Position, Fonction, Cargo, Ruolo, Functie, Befattning, Stanowisko,"
        " Your role"
    ),
    "website": (
        "website, Web site, Webseite, Site web, Sitio web, Sito web, Webbplats, Strona internetowa,"
        " Company website, Homepage"
    ),
    "message": (
        "message, your-message, Comments, Nachricht, Kommentar, Commentaires, Mensaje, Messaggio,"
        " Mensagem, Bericht, Opmerkingen, Meddelande, Wiadomość, How can we help you?, Treść"
        " wiadomości, Was ist Ihr Anliegen?"
    ),
    "consent": (
        "consent, gdpr, GDPR Consent, acceptance-privacy, privacy_policy, Datenschutz,"
        " Einwilligung, RGPD, Consentement, Consentimiento, Consenso, Toestemming, Akkoord,"
        " Samtycke, Zgoda, RODO, I agree to the processing of my data as the policy says"
    ),
    "country": "country, Country/Region, countryCode, Land, Pays, País, Paese, Kraj",
    "page_url": (
        "page_url, pageUrl, Page URL, landing_page, source_url, meta[page_url], conversion-page"
    ),
    "referrer": "referrer, referer, HTTP_REFERER, document.referrer",
    "form_name": "form_name, form-name, formName, form[name], Form Title",
    "form_id": "form_id, formId, form[id]",
    "occurred_at": "submitted_at, submissionDate, created_time",
    "utm_source": "utm_source, utmSource, UTM Source, utm[source], utm.source",
    "utm_campaign": "utm_campaign, UtmCampaign",
    "utm_id": "utm_id",
    "click_ids.gclid": "gclid, GCLID, gclid_field",
    "click_ids.li_fat_id": "li_fat_id, liFatId",
    "click_ids.ScCid": "ScCid, sccid",
    "click_ids._fbc": "_fbc",
}

LOOKALIKES = (
    "Workshop name, event_name, username, User Name, file_name, Company contact name, Name of your"
    " dog, Organizer e-mail, organiser-email, confirm_email, Repeat your e-mail, Friend's email,"
    " email_opt_in_status, Newsletter, subject, title, url, id, GA, budget, Service, domain_name,"
    " company size, Company type, Company contact, street name, Emergency contact phone, phone"
    " type, name_of_event, 1.3, 12, ***, Hi, text, first_utm"
)


def test_labels() -> None:
    """Common names are matched in any spelling and in nine languages."""
    for field, label in [
        (field, label) for field, text in LABELS.items() for label in text.split(", ")
    ]:
        steps = (
            tuple(label.split(".")) if label in ("utm.source", "document.referrer") else (label,)
        )
        match = match_path(steps)
        assert match is not None
        assert match.field == field


def test_labels_that_only_look_like_fields() -> None:
    """Labels that only resemble a field's stay questions."""
    for label in LOOKALIKES.split(", "):
        assert match_path((label,)) is None


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (("lead", "contact", "email"), "email"),
        (("data", "object", "metadata", "company"), "company"),
        (("customer", "address", "country_code"), "country"),
        (("contacts", "0", "email"), "email"),
        (("company", "name"), "company"),
        (("name", "first"), "first_name"),
        (("form", "name"), "form_name"),
        (("strange", "utm_source"), "utm_source"),
        (("strange", "email"), "email"),
        (("strange", "name"), None),
        (("organizer", "email"), None),
        (("event_memberships", "0", "user_email_owner"), None),
        (("event", "name"), None),
        (("product", "name"), None),
        (("assignee", "phone"), None),
        (("contacts", "1", "email"), None),
    ],
)
def test_paths(path: tuple[str, ...], field: str | None) -> None:
    """Surrounding objects leave a field's meaning alone, or make it somebody else's."""
    match = match_path(path)
    assert (match.field if match else None) == field


def test_an_exact_name_is_surer() -> None:
    """A plain `email` wins over a longer question, `page_url` over a landing page."""
    ranks = [match_label(label) for label in ("email", "your email", "email for the brochure")]
    assert [match.rank for match in ranks if match] == sorted(
        {match.rank for match in ranks if match}
    )
    page, landing = match_label("page_url"), match_label("landing_page")
    assert page is not None
    assert landing is not None
    assert page.rank < landing.rank


def test_own_names() -> None:
    """A source's own labels win over the synonyms."""
    match = match_path(("Ihr Rufname",), {"rufname": "name"})
    assert match is not None
    assert match.field == "name"


@pytest.mark.parametrize(
    ("label", "phrase"),
    [
        ("emailAddress", "email address"),
        ("q11_name", "q 11 name"),
        ("Größe", "grosse"),
        ("Imię", "imie"),
        ("ÅÄÖ", "aao"),
        ("日本", ""),
    ],
)
def test_words(label: str, phrase: str) -> None:
    """Case, accents and punctuation do not count."""
    assert " ".join(split_words(label)) == phrase
