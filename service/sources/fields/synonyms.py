"""The words by which a label is matched, by canonical field and language: data for `matching`.

Case, accents, punctuation and spaces do not count: `E-Mail`, `e_mail` and `eMail` are one phrase. A
phrase must be all that remains of a label without the words of `NEUTRAL` and `CLOSING` at its ends,
so that `Workshop name` is not a name.
"""

from __future__ import annotations

PHRASES: dict[str, dict[str, str]] = {
    "email": {
        "en": (
            "email, e-mail, email address, mail, mail address, email id, work email, business"
            " email, company email, personal email, private email, professional email, corporate"
            " email, primary email, email 1 address, emailaddr, contact email"
        ),
        "de": "e-mail-adresse, mailadresse, emailadresse, geschäftliche e-mail, elektronische post",
        "fr": (
            "adresse e-mail, adresse mail, adresse électronique, courriel, adresse courriel, mél,"
            " mail professionnel, e-mail professionnel"
        ),
        "es": (
            "correo, correo electrónico, dirección de correo, dirección de correo electrónico,"
            " correo e, email corporativo"
        ),
        "it": (
            "posta elettronica, indirizzo e-mail, indirizzo mail, indirizzo di posta elettronica,"
            " e-mail aziendale"
        ),
        "pt": (
            "correio eletrónico, correio eletrônico, endereço de e-mail, e-mail corporativo, e-mail"
            " profissional"
        ),
        "nl": "e-mailadres, mailadres, e-mail adres, zakelijk e-mailadres",
        "sv": "e-post, epost, e-postadress, mejl, mejladress, mailadress",
        "pl": "adres e-mail, adres email, poczta elektroniczna, adres mailowy",
    },
    "phone": {
        "en": (
            "phone, phone number, phone no, telephone, telephone number, telephone no, tel, tel no,"
            " tel number, mobile, mobile phone, mobile number, mobile no, mobile phone number,"
            " cell, cell phone, cellphone, cell number, contact number, daytime phone, work phone,"
            " business phone, office phone, home phone, phone work, phone mobile, primary phone,"
            " whatsapp, whatsapp number, phone full, phone number full, contact phone, gsm"
        ),
        "de": (
            "telefon, telefonnummer, telefon nr, telefonnr, tel nr, rufnummer, handy, handynummer,"
            " mobil, mobilnummer, mobiltelefon, mobilfunknummer, festnetz"
        ),
        "fr": (
            "téléphone, numéro de téléphone, numéro téléphone, n de téléphone, no de téléphone,"
            " téléphone portable, téléphone mobile, portable, numéro de portable, tél, mobile"
        ),
        "es": (
            "teléfono, número de teléfono, teléfono móvil, móvil, celular, número de celular,"
            " teléfono de contacto, teléfono celular"
        ),
        "it": (
            "telefono, numero di telefono, recapito telefonico, cellulare, numero di cellulare,"
            " telefono cellulare"
        ),
        "pt": (
            "telefone, número de telefone, telemóvel, celular, número de celular, telefone celular,"
            " telefone de contato, contacto telefónico, telefone de contacto"
        ),
        "nl": "telefoon, telefoonnummer, mobiel, mobiele nummer, mobiel nummer, gsm nummer",
        "sv": "telefon, telefonnummer, mobil, mobilnummer, mobiltelefon, tel nr",
        "pl": (
            "telefon, numer telefonu, nr telefonu, telefon kontaktowy, telefon komórkowy, komórka,"
            " numer komórki"
        ),
    },
    "name": {
        "en": (
            "name, full name, fullname, name full, contact name, contact person, complete name,"
            " first and last name, first name and last name, name and surname, firstname lastname,"
            " who are you, person name, display name"
        ),
        "de": (
            "vor und nachname, vorname und nachname, vorname nachname, vollständiger name,"
            " ansprechpartner, ansprechpartnerin, ansprechperson, kontaktperson, wie heißen sie,"
            " wie heißt du, name vorname, vorname name"
        ),
        "fr": (
            "nom, nom complet, nom et prénom, prénom et nom, nom prénom, prénom nom, personne à"
            " contacter, comment vous appelez vous"
        ),
        "es": (
            "nombre, nombre completo, nombre y apellido, nombre y apellidos, nombre apellidos,"
            " persona de contacto, cómo te llamas, cómo se llama"
        ),
        "it": (
            "nome, nome e cognome, nome completo, nome cognome, nominativo, cognome e nome, persona"
            " di contatto, come ti chiami"
        ),
        "pt": (
            "nome, nome completo, nome e sobrenome, nome e apelido, pessoa de contato, como se"
            " chama"
        ),
        "nl": (
            "naam, volledige naam, voor en achternaam, voornaam en achternaam, contactpersoon, hoe"
            " heet u, hoe heet je"
        ),
        "sv": (
            "namn, fullständigt namn, för och efternamn, förnamn och efternamn, namn och efternamn,"
            " kontaktperson, vad heter du"
        ),
        "pl": (
            "imię i nazwisko, imię nazwisko, nazwisko i imię, pełne imię i nazwisko, osoba"
            " kontaktowa, osoba do kontaktu"
        ),
    },
    "first_name": {
        "en": (
            "first name, firstname, fname, f name, given name, givenname, forename, name first,"
            " christian name, first, given names, contact first name, name given"
        ),
        "de": "vorname, vornamen, rufname",
        "fr": "prénom, prénoms",
        "es": "primer nombre, nombre de pila, nombres",
        "it": "nome di battesimo",
        "pt": "primeiro nome, nome próprio",
        "nl": "voornaam, voornamen",
        "sv": "förnamn, tilltalsnamn",
        "pl": "imię",
    },
    "last_name": {
        "en": (
            "last name, lastname, lname, l name, surname, family name, familyname, name last, last,"
            " contact last name, name family"
        ),
        "de": "nachname, familienname, zuname",
        "fr": "nom de famille, nom famille, patronyme",
        "es": "apellido, apellidos, primer apellido",
        "it": "cognome",
        "pt": "sobrenome, apelido, último nome, nome de família",
        "nl": "achternaam, familienaam",
        "sv": "efternamn, släktnamn",
        "pl": "nazwisko",
    },
    "company": {
        "en": (
            "company, company name, name of company, name of your company, name of the company,"
            " organization, organisation, organization name, organisation name, org, org name,"
            " business, business name, firm, firm name, employer, company or organization, company"
            " organization, company organisation, where do you work, which company do you work for,"
            " legal name, company legal name"
        ),
        "de": (
            "firma, firmenname, unternehmen, unternehmensname, name des unternehmens, name der"
            " firma, organisation, betrieb, arbeitgeber, firmierung"
        ),
        "fr": (
            "entreprise, société, nom de l entreprise, nom de la société, nom de votre entreprise,"
            " nom de votre société, nom entreprise, nom société, raison sociale, organisme,"
            " organisation, structure, établissement"
        ),
        "es": (
            "empresa, nombre de la empresa, nombre de empresa, nombre de tu empresa, nombre de su"
            " empresa, compañía, razón social, organización, negocio"
        ),
        "it": (
            "azienda, nome azienda, nome dell azienda, società, nome della società, impresa,"
            " ragione sociale, organizzazione, ditta"
        ),
        "pt": (
            "empresa, nome da empresa, nome da sua empresa, razão social, organização, companhia,"
            " negócio"
        ),
        "nl": (
            "bedrijf, bedrijfsnaam, naam bedrijf, naam van uw bedrijf, organisatie,"
            " organisatienaam, onderneming, firma"
        ),
        "sv": "företag, företagsnamn, företagets namn, bolag, bolagsnamn, organisation",
        "pl": "firma, nazwa firmy, przedsiębiorstwo, organizacja, nazwa organizacji, spółka",
    },
    "job_title": {
        "en": (
            "job title, jobtitle, job, position, role, job role, job position, your role,"
            " occupation, profession, job function, current position, title at company, designation"
        ),
        "de": (
            "berufsbezeichnung, jobtitel, funktion, beruf, stellenbezeichnung, tätigkeit, ihre"
            " position im unternehmen"
        ),
        "fr": (
            "fonction, poste, poste occupé, intitulé du poste, intitulé de poste, profession,"
            " métier"
        ),
        "es": "cargo, puesto, puesto de trabajo, profesión, ocupación",
        "it": "ruolo, posizione, qualifica, professione, ruolo aziendale, posizione lavorativa",
        "pt": "cargo, função, profissão, ocupação",
        "nl": "functie, functietitel, beroep",
        "sv": "befattning, titel, jobbtitel, yrke, arbetsroll",
        "pl": "stanowisko, zawód, funkcja",
    },
    "website": {
        "en": (
            "website, web site, website url, website address, company website, company url,"
            " homepage, home page, site url, web address, web page, your site, www, domain, company"
            " domain, business website, website link"
        ),
        "de": "webseite, internetseite, webadresse, internetadresse, firmenwebsite, webpräsenz",
        "fr": "site web, site internet, adresse du site, adresse de votre site, url du site, site",
        "es": "sitio web, página web, web, url del sitio",
        "it": "sito web, sito internet, sito, indirizzo web, sito aziendale",
        "pt": "site, website da empresa, página web, sítio web, endereço do site",
        "nl": "webpagina, website adres, bedrijfswebsite",
        "sv": "webbplats, hemsida, webbsida, webbadress",
        "pl": "strona internetowa, strona www, adres strony, strona firmy",
    },
    "message": {
        "en": (
            "message, comment, comments, enquiry, inquiry, question, questions, note, notes,"
            " message body, message text, additional information, additional comments, additional"
            " info, additional notes, further information, how can we help, how can we help you,"
            " how may we help, how may we help you, how can i help, how can we assist you, tell us"
            " more, tell us about your project, what can we do for you, remarks, comments or"
            " questions, questions or comments, comment or message, project details, request,"
            " enquiry details, your enquiry, anything else"
        ),
        "de": (
            "nachricht, anfrage, kommentar, kommentare, bemerkung, bemerkungen, anmerkung,"
            " anmerkungen, mitteilung, anliegen, frage, fragen, nachrichtentext, wie können wir"
            " ihnen helfen, wie können wir helfen, hinweise, notiz, notizen"
        ),
        "fr": (
            "commentaire, commentaires, demande, question, questions, remarque, remarques, comment"
            " pouvons nous vous aider, précisions, informations complémentaires"
        ),
        "es": (
            "mensaje, comentario, comentarios, consulta, pregunta, preguntas, solicitud,"
            " observaciones, cómo podemos ayudarte, cómo podemos ayudarle, en qué podemos ayudarte"
        ),
        "it": (
            "messaggio, commento, commenti, richiesta, domanda, domande, note aggiuntive, come"
            " possiamo aiutarti"
        ),
        "pt": (
            "mensagem, comentário, comentários, pergunta, perguntas, dúvida, dúvidas, pedido,"
            " observações, como podemos ajudar"
        ),
        "nl": (
            "bericht, opmerking, opmerkingen, vraag, vragen, toelichting, hoe kunnen we u helpen,"
            " hoe kunnen we je helpen"
        ),
        "sv": (
            "meddelande, kommentar, kommentarer, fråga, frågor, förfrågan, övrigt, hur kan vi"
            " hjälpa dig, hur kan vi hjälpa till"
        ),
        "pl": (
            "wiadomość, treść, treść wiadomości, komentarz, uwagi, pytanie, zapytanie, jak możemy"
            " pomóc, w czym możemy pomóc"
        ),
    },
    "consent": {
        "en": (
            "consent, gdpr, gdpr consent, gdpr agreement, privacy, privacy policy, privacy consent,"
            " privacy accepted, accept privacy, accept privacy policy, acceptance, acceptance"
            " privacy, acceptance gdpr, agree, i agree, agreement, terms, terms and conditions,"
            " accept terms, agree terms, agree to terms, agree to privacy, terms accepted, tos,"
            " data protection, data consent, opt in, optin, marketing consent, marketing opt in,"
            " consent given, consent to contact, contact consent, permission, data processing"
            " consent, legal, accept, accepts marketing"
        ),
        "de": (
            "datenschutz, dsgvo, datenschutzerklärung, datenschutzhinweis, datenschutz akzeptiert,"
            " einwilligung, einwilligungserklärung, zustimmung, einverständnis, agb"
        ),
        "fr": (
            "rgpd, consentement, consentement rgpd, politique de confidentialité, confidentialité,"
            " acceptation, conditions générales, protection des données"
        ),
        "es": (
            "consentimiento, rgpd, política de privacidad, privacidad, aceptación, acepto,"
            " protección de datos, términos y condiciones, aviso legal"
        ),
        "it": (
            "consenso, consenso privacy, informativa privacy, accettazione, accetto, trattamento"
            " dati, privacy e dati"
        ),
        "pt": (
            "consentimento, política de privacidade, privacidade, aceito, lgpd, proteção de dados,"
            " termos, rgpd"
        ),
        "nl": "toestemming, akkoord, avg, privacyverklaring, privacybeleid, voorwaarden",
        "sv": "samtycke, godkännande, integritetspolicy, godkänner, personuppgifter, villkor",
        "pl": (
            "zgoda, rodo, zgoda rodo, polityka prywatności, zgoda na przetwarzanie danych,"
            " regulamin"
        ),
    },
    "country": {
        "en": (
            "country, country code, country region, country name, country or region, address"
            " country, location country, country of residence, country iso"
        ),
        "de": "land, staat, herkunftsland, wohnsitzland, ländercode",
        "fr": "pays, pays de résidence, code pays",
        "es": "país, país de residencia",
        "it": "paese, nazione, stato di residenza",
        "pt": "país, país de residência",
        "nl": "land van herkomst, landcode",
        "sv": "landskod",
        "pl": "kraj, państwo, kod kraju",
    },
    "page_url": {
        "en": (
            "page url, pageurl, page uri, page link, page address, source url, sourceurl, form url,"
            " form page, submission url, submitted from, current url, current page, page location,"
            " referring page, conversion url, conversion page, page, url page, href, full url, from"
            " url, landing page, landing page url, landing url, landingpage, lp url, first page,"
            " entry page, entry url"
        ),
    },
    "referrer": {
        "en": (
            "referrer, referer, http referrer, http referer, document referrer, referrer url,"
            " referer url, referring url, referring site, original referrer, initial referrer,"
            " first referrer, previous page, ref url"
        ),
    },
    "form_id": {"en": "form id, formid, form key, form uuid, form identifier, formular id"},
    "form_name": {
        "en": (
            "form name, formname, form title, name of form, formular name, formularname, nom du"
            " formulaire"
        )
    },
    "occurred_at": {
        "en": (
            "submitted at, submitted on, submission date, submission time, date submitted,"
            " submission timestamp, submit date, submission created at, created at, createdat,"
            " created time, created on, date created, timestamp, submitted time, occurred at"
        ),
    },
    "utm_source": {"en": "utm source, utm src"},
    "utm_medium": {"en": "utm medium"},
    "utm_campaign": {"en": "utm campaign, utm campaign name"},
    "utm_term": {"en": "utm term, utm keyword"},
    "utm_content": {"en": "utm content"},
    "utm_id": {"en": "utm id"},
}

# Phrases that give way to any other phrase of the same field.
SECOND_CHOICE = (
    "landing page, landing page url, landing url, landingpage, lp url, first page, entry page,"
    " entry url, page, referring page, created at, createdat, created time, created on, date"
    " created, timestamp, original referrer, initial referrer, first referrer, name full, display"
    " name, mail, legal, permission, terms, terms and conditions, tos, agb, newsletter, opt in,"
    " optin, marketing consent, marketing opt in, accepts marketing, home phone, festnetz, note,"
    " notes, legal name, site, web, first, last, job, request"
)

# Words that say nothing about the question; taken off the beginning of a label.
NEUTRAL = {
    "en": (
        "hello hi hey s your my our the a an please enter provide type give tell us me what whats"
        " which is are field input textfield text txt fld form contact customer client lead person"
        " visitor applicant buyer prospect no label required optional mandatory q question answer"
        " value val data user here details hidden best of for you"
    ),
    "de": (
        "ihre ihr ihren deine dein deinen bitte geben gib sie ein an eingeben wie lautet ist die"
        " der das was pflichtfeld kunde kontakt"
    ),
    "fr": (
        "votre vos ton ta tes quel quelle est veuillez saisir entrer indiquer indiquez le la les un"
        " une client contact obligatoire"
    ),
    "es": (
        "su tu sus tus cual es el la los las por favor introduzca introduce indique escribe cliente"
        " obligatorio contacto"
    ),
    "it": "tuo tua suo sua vostro il lo qual e inserisci inserire cliente obbligatorio contatto",
    "pt": "seu sua teu tua o a qual e melhor insira digite cliente contato contacto obrigatorio",
    "nl": "uw je jouw wat vul hier in de het klant verplicht",
    "sv": "din ditt dina vad ar ange kund obligatoriskt",
    "pl": "twoj twoja twoje podaj jaki jaka jest wpisz klient wymagane",
}

# Taken off its end: fewer, since a `Company contact` is a person and a `Phone type` is no phone.
CLOSING = (
    "field input textfield text txt fld required optional mandatory question answer value val here"
    " please bitte ein eingeben an pflichtfeld obligatoire obligatorio obbligatorio obrigatorio"
    " verplicht obligatoriskt wymagane in"
)

# Names of objects that do not change the meaning of a field in them: `lead.contact.email` is an
# e-mail.
WRAPPERS = (
    "data payload object body form fields field properties property attributes metadata meta"
    " tracking attribution custom customfields customvariables extra info details submission"
    " response responses record entry result results event message params parameters query values"
    " answers merges mergefields mergevars hidden variables input inputs post formdata formfields"
    " analytics utm campaign marketing contact contacts customer client lead leads person people"
    " visitor applicant buyer prospect requester sender author invitee registrant attendee"
    " respondent subscriber member guest candidate shopper billing billingaddress patient user"
    " profile address location personal personaldata contactinfo contactinformation contactdetails"
    " json raw rawrequest request source page session context browser item new emails phones"
    " phonenumbers emailaddresses primary"
)

# Wrappers whose `name` is not a person's: `event.name`, `form.name`.
NOT_A_PERSON = "event message page form campaign source field item utm hidden custom meta"

# Words that make an e-mail or a phone somebody else's, or no address at all, anywhere in a label or
# its path.
GUARDS = (
    "organizer organiser organizers organisers organisateur organizador organizzatore veranstalter"
    " host owner assignee assigned agent manager rep representative salesperson sales staff"
    " employee creator referral referee friend friends freund ami amigo colleague emergency spouse"
    " partner recipient cc bcc confirm confirmation confirmed repeat retype verify again"
    " wiederholen bestatigen confirmer confirmation confirmar conferma bevestig upprepa powtorz"
    " workshop product course ticket project template subject supplier vendor shop store merchant"
    " school child second other alternate alternative secondary previous old reply invoice"
    " supervisor boss bcc doctor plan status type count opened list verified valid optout"
    " unsubscribe preference frequency format"
)

# Phrases that would match a field without their ends, and must not.
NEVER = (
    "user name, username, login name, file name, nick name, screen name, event name, workshop name,"
    " product name, project name, campaign name, page name, site name, list name, course name,"
    " school name, brand name, street name, host name, domain name, type name, organizer name,"
    " organiser name, field name, input name, item name, plan name, template name, text message,"
    " contact message id"
)

# Words that make a longer question one for an e-mail or a phone, if the answer is one.
ASKS_EMAIL = "email mail courriel correo epost mejl mailadresse emailadresse emailadres"
ASKS_PHONE = (
    "phone telephone mobile telefon telefono telefone telefoon tel whatsapp handy cellphone"
    " portable movil celular"
)

# How the sentence beside a consent box begins.
ASKS_CONSENT = (
    "i agree, i accept, i consent, i have read, i give my consent, i hereby, yes i agree, by"
    " submitting, by checking, by ticking, ich stimme, ich bin einverstanden, ich akzeptiere, ich"
    " willige, ich habe die datenschutz, j accepte, je consens, j ai lu, en soumettant, acepto, he"
    " leido, doy mi consentimiento, accetto, ho letto, acconsento, aceito, li e aceito, concordo,"
    " ik ga akkoord, ik geef toestemming, jag godkanner, jag samtycker, wyrazam zgode, akceptuje,"
    " zgadzam sie"
)

# What a ticked box sends, and one that is not ticked.
YES = (
    "1, true, yes, on, y, t, ok, checked, agree, agreed, i agree, accept, accepted, i accept,"
    " consent, given, granted, opt in, optin, ja, oui, si, sim, tak, akzeptiert, zugestimmt,"
    " acepto, accetto, aceito, akkoord, zgoda, j accepte, x, wahr, vrai"
)
NO = (
    "0, false, no, off, n, f, nein, non, nao, nee, nej, nie, unchecked, declined, denied, not"
    " given, opt out, falsch, faux"
)

# Labels of a full name that mean the given name where the form also asks for the family name.
GIVEN_BESIDE_FAMILY = "nombre, nome, namn, imie"
# Labels of a full name that mean the family name where the form also asks for the given name, as
# German `Name` beside `Vorname` does.
FAMILY_BESIDE_GIVEN = "nom, naam"

# Fields for machines and secrets, by their lower-case names: never kept as answers.
NOT_ANSWERS = (
    "_started, _redirect, _charset_, _method, _token, _csrf, csrf_token, csrfmiddlewaretoken,"
    " authenticity_token, __requestverificationtoken, g-recaptcha-response, h-captcha-response,"
    " cf-turnstile-response, frc-captcha-solution, idempotency-key, idempotency_key,"
    " _idempotency_key, password, passwd, pwd, password_confirmation, confirm_password"
)
