"""From the names of a payload to what they ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.sources.fields import recognition
from service.sources.fields.effort import Effort
from service.sources.fields.recognition import Plan, forget_plans, make_plan, match_path
from service.sources.languages.words import split_languages, split_words, to_phrase
from service.sources.payload.event import PayloadField
from tests.unit.sources.factories import form, lead_of

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
    "country": "country, Country/Region, countryCode, Land, Pays, País, Paese",
    "page_url": (
        "page_url, pageUrl, Page URL, landing_page, source_url, meta[page_url], conversion-page"
    ),
    "referrer": "referrer, referer, HTTP_REFERER",
    "form_name": "form_name, form-name, formName, form[name], Form Title",
    "form_id": "form_id, formId, form[id]",
    "occurred_at": "submitted_at, submissionDate, created_time",
    "utm_source": "utm_source, utmSource, UTM Source, utm[source], utm_source__c",
    "utm_campaign": "utm_campaign, UtmCampaign",
    "utm_id": "utm_id",
    "click_ids.gclid": "gclid, GCLID, gclid_field, GCLID__c",
    "click_ids.li_fat_id": "li_fat_id, liFatId",
    "click_ids.ScCid": "ScCid, sccid",
    "click_ids._fbc": "_fbc",
}

MORE_LANGUAGES = {
    "da": "Navn=name|Fornavn=first_name|Efternavn=last_name|Tlf.nr.=phone|Din mailadresse=email"
    "|Virksomhed=company|Besked=message|Hjemmeside=website",
    "no": "Etternavn=last_name|Mobilnummer=phone|Bedrift=company|Melding=message|Stilling=job_title",
    "fi": "Nimi=name|Etunimi=first_name|Sukunimi=last_name|Puhelinnumero=phone|Yritys=company"
    "|Viesti=message|Sähköpostiosoite=email",
    "cs": "Jméno a příjmení=name|Příjmení=last_name|Telefonní číslo=phone|Název firmy=company"
    "|Zpráva=message|E-mailová adresa=email|Webové stránky=website",
    "sk": "Meno a priezvisko=name|Priezvisko=last_name|Telefónne číslo=phone|Názov firmy=company"
    "|Správa=message",
    "hu": "Név=name|Keresztnév=first_name|Vezetéknév=last_name|Telefonszám=phone|Cégnév=company"
    "|Üzenet=message|E-mail cím=email|Beosztás=job_title",
    "ro": "Nume și prenume=name|Prenume=first_name|Număr de telefon=phone|Denumire firmă=company"
    "|Mesaj=message|Adresa de e-mail=email|Țara=country",
    "el": "Ονοματεπώνυμο=name|Επώνυμο=last_name|Τηλέφωνο=phone|Εταιρεία=company|Μήνυμα=message"
    "|Διεύθυνση email=email|Χώρα=country",
    "ru": "ФИО=name|Фамилия=last_name|Номер телефона=phone|Компания=company|Сообщение=message"
    "|Электронная почта=email|Должность=job_title|Сайт=website",
    "uk": "Ім'я та прізвище=name|Прізвище=last_name|Номер телефону=phone|Компанія=company"
    "|Повідомлення=message|Електронна пошта=email|Посада=job_title",
    "tr": "Adınız Soyadınız=name|Soyadınız=last_name|Telefon numarası=phone|Şirket adı=company"
    "|Mesajınız=message|E-posta adresi=email|Ülke=country",
    "ar": "الاسم الكامل=name|الاسم الأول=first_name|اسم العائلة=last_name|رقم الهاتف=phone"
    "|اسم الشركة=company|الرسالة=message|البريد الإلكتروني=email|الدولة=country",
    "he": 'שם מלא=name|שם פרטי=first_name|שם משפחה=last_name|טלפון=phone|שם החברה=company|הודעה=message|דוא"ל=email',
    "fa": "نام و نام خانوادگی=name|نام خانوادگی=last_name|شماره تلفن=phone|نام شرکت=company"
    "|پیام=message|ایمیل=email|کشور=country",
    "ja": "お名前=name|姓=last_name|名=first_name|電話番号=phone|会社名=company|お問い合わせ内容=message"
    "|メールアドレス=email|役職=job_title|国=country",
    "zh": "您的姓名=name|手机号码=phone|公司名称=company|留言=message|电子邮箱=email|職稱=job_title|国家=country",
    "ko": "이름=name|성함=name|연락처=phone|회사명=company|문의 내용=message|이메일=email|직책=job_title",
    "id": "Nama lengkap=name|Nama depan=first_name|Nama belakang=last_name|Nomor telepon=phone"
    "|Nama perusahaan=company|Pesan=message|Alamat email=email|Jabatan=job_title|Negara=country",
    "ms": "Nama penuh=name|Nombor telefon=phone|Nama syarikat=company|Mesej=message",
    "vi": "Họ và tên=name|Họ=last_name|Số điện thoại=phone|Tên công ty=company|Nội dung=message"
    "|Địa chỉ email=email|Chức vụ=job_title|Quốc gia=country",
    "ca": "Nom i cognoms=name|Cognoms=last_name|Telèfon=phone|Missatge=message"
    "|Correu electrònic=email|Càrrec=job_title",
}

LOOKALIKES = (
    "Workshop name, event_name, username, User Name, file_name, Company contact name, Firma"
    " Ansprechpartner, Name of your dog, Organizer e-mail, organiser-email, confirm_email, Repeat"
    " your e-mail, email_opt_in_status, subject, title, url, id, GA, budget, Service, domain_name,"
    " company size, Company type, Company contact, street name, Emergency contact phone, phone"
    " type, name_of_event, 1.3, 12, ***, Hi, first_utm, Betreff, Objet, Anzahl der Personen,"
    " Umbestellung, phone_model, Postleitzahl, Straße, Numéro de TVA, お問い合わせ種別"
)


def plan_of(*labels: str) -> Plan:
    return make_plan(
        [PayloadField(path=(label,), name_path=(label,), value="x") for label in labels],
        {},
        Effort(),
    )


def targets_of(*labels: str) -> dict[str, str]:
    """Label -> the field of the lead that it asks for most plainly."""
    targets: dict[str, str] = {}
    for candidate in plan_of(*labels).candidates:
        targets.setdefault(labels[candidate.index], candidate.target)
    return targets


@pytest.fixture(autouse=True)
def _no_plans() -> Iterator[None]:
    forget_plans()
    yield
    forget_plans()


@pytest.mark.parametrize("field", LABELS)
def test_labels(field: str) -> None:
    """Common names are matched in any spelling and language."""
    labels = LABELS[field].split(", ")
    assert {label: match_path((label,)) for label in labels} == dict.fromkeys(labels, field)


@pytest.mark.parametrize("language", MORE_LANGUAGES)
def test_labels_of_more_languages(language: str) -> None:
    """Forms of other languages, in whatever script, are read as well."""
    expected = dict(pair.split("=") for pair in MORE_LANGUAGES[language].split("|"))
    assert {label: match_path((label,)) for label in expected} == expected


@pytest.mark.parametrize("label", LOOKALIKES.split(", "))
def test_labels_that_only_look_like_fields(label: str) -> None:
    """A label that only resembles a field's stays a question."""
    assert match_path((label,)) is None


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("lead.contact.email", "email"),
        ("data.object.metadata.company", "company"),
        ("customer.address.country_code", "country"),
        ("contacts.0.email", "email"),
        ("contacts.1.email", None),
        ("company.name", "company"),
        ("name.first", "first_name"),
        ("yourName.lastName", "last_name"),
        ("email.value", "email"),
        ("form.name", "form_name"),
        ("utm.source", "utm_source"),
        ("document.referrer", "referrer"),
        ("strange.utm_source", "utm_source"),
        ("strange.name", None),
        ("organizer.email", None),
        ("event_memberships.0.user_email_owner", None),
        ("event.name", None),
        ("product.name", None),
        ("assignee.phone", None),
        ("browser.name", None),
    ],
)
def test_paths(path: str, field: str | None) -> None:
    """Surrounding objects leave a field's meaning alone, or make it somebody else's."""
    assert match_path(tuple(path.split("."))) == field


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("wpforms[fields][3]_email", "email"),  # WPForms
        ("et_pb_contact_email_0", "email"),  # Divi
        ("et_pb_contact_message_0", "message"),
        ("g12-email", "email"),  # Jetpack
        ("tx_powermail_pi1[field][email]", "email"),  # TYPO3
        ("tx_form_formframework[kontakt-12][telefon]", "phone"),
        ("inf_field_FirstName", "first_name"),  # Keap
        ("inf_field_Phone1", "phone"),
        ("billing_phone", "phone"),  # WooCommerce
        ("billing_last_name", "last_name"),
        ("email-1", "email"),  # Forminator
        ("textarea-1_message", "message"),
        ("ctl00$MainContent$txtEmail", "email"),  # ASP.NET
        ("ctl00$ContentPlaceHolder1$tbPhone", "phone"),
        ("names[first_name]", "first_name"),  # Fluent Forms
        ("input_text_company", "company"),
        ("edit-submitted-telefon", "phone"),  # Drupal
        ("attendee_name", "name"),
        ("lead[kontakt][vorname]", "first_name"),
        ("mauticform[email]", "email"),
    ],
)
def test_prefixes_of_products(name: str, field: str) -> None:
    """What a product puts before or around a name changes nothing of what it asks for."""
    values = {"email": "ada@a.example", "phone": "+442071838750", "message": "Please call me back"}
    assert getattr(lead_of(form(**{name: values.get(field, "Ada")})), field) == values.get(
        field, "Ada"
    )


@pytest.mark.parametrize(
    ("label", "field"),
    [
        ("Nachname / Last name", "last_name"),
        ("Vorname | Prénom | Nome", "first_name"),
        ("E-Mail (Courriel)", "email"),
        ("Telefon – Phone – Téléphone", "phone"),
        ("Firma / Organisation", "company"),
        ("お名前 (Name)", "name"),
        ("电话 / Phone", "phone"),
        ("Message (required)", "message"),
        ("Nachricht*", "message"),
        ("氏名【必須】", "name"),
        ("Телефон, Phone", "phone"),
        ("Land: / Country:", "country"),
    ],
)
def test_labels_in_several_languages(label: str, field: str) -> None:
    """A label that says the same in several languages asks for it once."""
    assert match_path((label,)) == field


@pytest.mark.parametrize(
    "label",
    [
        "E-Mail / Telefon",
        "Email or phone",
        "Phone / E-mail",
        "Correo o teléfono",
        "E-post eller telefon",
        "e-mail lub telefon",
    ],
)
def test_a_label_for_one_of_two(label: str) -> None:
    """Where a label asks for an e-mail or a phone, the value tells which it is."""
    assert lead_of(form(**{label: "ada@a.example"})).email == "ada@a.example"
    assert lead_of(form(**{label: "+44 20 7183 8750"})).phone == "+442071838750"
    lead = lead_of(form(**{label: "phone, please", "email": "ada@a.example"}))
    assert (lead.email, lead.phone) == ("ada@a.example", None)
    assert lead.answers == {label: "phone, please"}


@pytest.mark.parametrize(
    ("label", "field"),
    [
        ("fnamn", "first_name"),
        ("Vnaam", "first_name"),
        ("telnummer", "phone"),
        ("Tel.-Nr.", "phone"),
        ("mobil_nr", "phone"),
        ("mailadr", "email"),
        ("description", "message"),
        ("details", "message"),
        ("fullname", "name"),
    ],
)
def test_short_forms(label: str, field: str) -> None:
    """Names that programmers shorten are known."""
    assert match_path((label,)) == field


@pytest.mark.parametrize(
    ("label", "is_lead"),
    [
        ("deltagerens e-mail", True),
        ("asiakkaan puhelinnumero", True),
        ("E-mail zákazníka", True),
        ("телефон клиента", True),
        ("müşterinin e-posta adresi", True),
        ("E-mail zaměstnance", False),
        ("E-Mail des Vertreters", False),
        ("телефон менеджера", False),
        ("E-mail du commercial", False),
        ("e-mail van de medewerker", False),
        ("Handlarens e-post", False),
    ],
)
def test_inflected_owners(label: str, is_lead: bool) -> None:
    """Whose a field is may be said by an inflected word, before or after it."""
    assert (match_path((label,)) is not None) is is_lead


@pytest.mark.parametrize(
    ("labels", "label", "field"),
    [
        (("Vorname", "Nachname", "Titel"), "Titel", None),
        (("Fornavn", "Efternavn", "Titel"), "Titel", "job_title"),
        (("Förnamn", "Efternamn", "Titel"), "Titel", "job_title"),
        (("nome", "apelido", "telemóvel"), "apelido", "last_name"),
        (("Imię", "Nazwisko", "Kraj"), "Kraj", "country"),
        (("Jméno", "Příjmení", "Kraj"), "Kraj", None),
        (("Prénom", "Nom", "Pays"), "Nom", "name"),
        (("Navn", "Tlf", "Land"), "Land", "country"),
    ],
)
def test_the_names_decide_their_language(
    labels: tuple[str, ...], label: str, field: str | None
) -> None:
    """A word that means different things in two languages means what the names beside it say."""
    assert targets_of(*labels).get(label) == field


def test_a_nickname() -> None:
    """`apelido` is the family name in Portugal, but not beside the Brazilian `sobrenome`."""
    portuguese = lead_of(form(nome="Ana", apelido="Souza", telemóvel="+351912345678"))
    assert (portuguese.first_name, portuguese.last_name) == ("Ana", "Souza")
    brazilian = lead_of(form(nome="Ana", apelido="Aninha", sobrenome="Souza", email="a@b.example"))
    assert (brazilian.first_name, brazilian.last_name) == ("Ana", "Souza")


def test_own_names() -> None:
    """A source's own labels win over the vocabulary, inside objects as well."""
    fields = [
        PayloadField(path=path, name_path=path, value="x")
        for path in (("Ihr Rufname",), ("kunde", "titel"), ("name",))
    ]
    labels = {to_phrase("Ihr Rufname"): "name", "titel": "job_title"}
    [first, second, *_] = make_plan(fields, labels, Effort()).candidates
    assert [(first.index, first.target), (second.index, second.target)] == [
        (0, "name"),
        (1, "job_title"),
    ]


def test_the_plainest_name_comes_first() -> None:
    """Of several names for one field the plainest comes first, however late it stands."""
    labels = ("To which email may the offer be sent then", "The email, please", "email")
    matched = [one.index for one in plan_of(*labels).candidates if one.target == "email"]
    assert matched == [2, 1, 0]


def test_a_convention_of_names() -> None:
    """Names that mean something else beside those of a product are read as the product means."""
    assert targets_of("URL", "title") == {}
    names = ("oid", "retURL", "URL", "title")
    assert targets_of(*names) == {"URL": "website", "title": "job_title"}


# What is remembered.


def test_one_shape_is_read_once() -> None:
    """The same names in the same order are the same form; any other name or order is another."""
    first = plan_of("E-Mail", "Name", "Ort")
    assert plan_of("E-Mail", "Name", "Ort") is first
    assert plan_of("Name", "E-Mail", "Ort") is not first
    assert plan_of("E-Mail", "Name", "Land") is not first
    assert plan_of("E-Mail", "Name") is not first


def test_the_sources_own_names_are_part_of_the_shape() -> None:
    """Two sources with different labels never share what they remember of a form."""
    fields = [PayloadField(path=("a",), name_path=("a",), value="x")]
    plain, own_labels = make_plan(fields, {}, Effort()), make_plan(fields, {"a": "email"}, Effort())
    assert not plain.candidates
    assert [one.target for one in own_labels.candidates] == ["email"]
    assert make_plan(fields, {}, Effort()) is plain
    assert make_plan(fields, {"a": "email"}, Effort()) is own_labels


def test_what_a_product_says_is_part_of_the_shape() -> None:
    """Equal names whose questions differ in type, in aliases or in the product's word differ."""
    kinds = (None, "email")
    plans = [
        make_plan(
            [PayloadField(path=("q",), name_path=("q7",), value="x", kind=kind)], {}, Effort()
        )
        for kind in kinds
    ]
    assert [[one.target for one in plan.candidates] for plan in plans] == [[], ["email"]]


def test_the_oldest_shapes_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a fixed number of shapes is kept, and the oldest goes first."""
    monkeypatch.setattr(recognition, "MAX_PLANS", 3)
    plans = {name: plan_of(name) for name in "abc"}
    assert all(plan_of(name) is plan for name, plan in plans.items())
    plan_of("d")
    assert len(recognition._plans) == 3
    assert plan_of("b") is plans["b"]
    assert plan_of("c") is plans["c"]
    assert plan_of("a") is not plans["a"]


def test_large_shapes_are_not_kept() -> None:
    """A shape whose names are too long takes no memory."""
    labels = [f"{at:04}".rjust(200, "x") for at in range(recognition.MAX_PLAN_CHARS // 200 + 1)]
    assert plan_of(*labels) is not plan_of(*labels)
    assert not recognition._plans


def test_the_largest_shape_is_kept() -> None:
    """A form of as many names as may be remembered is."""
    labels = tuple(f"field {at}" for at in range(recognition.MAX_NAMED_FIELDS))
    assert plan_of(*labels) is plan_of(*labels)


def test_names_beyond_the_bound_are_answers() -> None:
    """Names after the last one that is read are no fields of the lead, and cost nothing."""
    labels = [f"x{at}" for at in range(recognition.MAX_NAMED_FIELDS)]
    assert targets_of(*labels[:-1], "email") == {"email": "email"}
    assert targets_of(*labels, "email") == {}


# Words.


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("emailAddress", "email address"),
        ("HTTPReferer", "http referer"),
        ("q11_name", "q 11 name"),
        ("Größe", "grosse"),
        ("Imię", "imie"),
        ("ÅÄÖ", "aao"),
        ("Ім'я та прізвище", "імя та прізвище"),
        ("l'entreprise", "l entreprise"),
        ("dell’azienda", "dell azienda"),
        ("Țară", "tara"),
        ("Soyadı", "soyadi"),
        ("Ναπολέων", "ναπολεων"),
        ("メール", "メール"),
        ("日本", "日本"),
        ("ｅｍａｉｌ", "email"),
        ("نامِ شما", "نام شما"),
        ("رقـم", "رقم"),
        ("", ""),
        ("***", ""),
    ],
)
def test_words(label: str, words: str) -> None:
    """Case, accents and punctuation do not count, in any script."""
    assert " ".join(split_words(label)) == words


def test_spellings_of_one_phrase() -> None:
    """However it is written, a name is one phrase."""
    spellings = ("E-Mail", "e_mail", "eMail", "E Mail", "e‑mail", "É-MAIL")
    assert {to_phrase(one) for one in spellings} == {"email"}


@pytest.mark.parametrize(
    ("label", "parts"),
    [
        ("Nachname / Last name", ["Nachname ", " Last name"]),
        ("氏名（必須）", ["氏名", "必須"]),
        ("Land - Country", ["Land", "Country"]),
        ("E-Mail", ["E-Mail"]),
        ("a, b", ["a", " b"]),
        ("1,5", ["1,5"]),
    ],
)
def test_parts_of_a_label(label: str, parts: list[str]) -> None:
    """A label is parted where languages meet, and never inside a word."""
    assert split_languages(label) == parts
